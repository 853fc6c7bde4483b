/*
 * A PKCS#11 module that is SoftHSM but for one call, named in SHIM_AT ("C_Decrypt"): there it does what SHIM_DOES says:
 * "hang", "abort", or a return code in decimal. SHIM_TIMES (a file that holds a digit, counted down) limits how often; without
 * it, always. SHIM_FLAGS (decimal) is or-ed into the flags of each token. SHIM_LOG (a file) gets one letter for each login.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pkcs11/pkcs11.h"

static CK_FUNCTION_LIST_PTR real;
static CK_FUNCTION_LIST ours;

static int due(void) {
  const char *path = getenv("SHIM_TIMES");
  if (path == NULL) return 1;
  int file = open(path, O_RDWR);
  char left = '0';
  if (file < 0 || pread(file, &left, 1, 0) != 1 || left <= '0') return 0;
  left--;
  if (pwrite(file, &left, 1, 0) != 1) abort();
  close(file);
  return 1;
}

static CK_RV misbehave(const char *call) {
  const char *at = getenv("SHIM_AT"), *does = getenv("SHIM_DOES");
  if (at == NULL || does == NULL || strcmp(at, call) != 0 || !due()) return CKR_OK;
  if (strcmp(does, "hang") == 0) for (;;) sleep(1000);
  if (strcmp(does, "abort") == 0) abort();
  return strtoul(does, NULL, 10);
}

#define SHIM(name, parameters, arguments)                                   \
  static CK_RV shim_##name parameters {                                     \
    CK_RV rv = misbehave(#name);                                            \
    return rv != CKR_OK ? rv : real->name arguments;                        \
  }

SHIM(C_Initialize, (CK_VOID_PTR a), (a))
SHIM(C_Finalize, (CK_VOID_PTR a), (a))
SHIM(C_OpenSession, (CK_SLOT_ID a, CK_FLAGS b, CK_VOID_PTR c, CK_NOTIFY d, CK_SESSION_HANDLE_PTR e), (a, b, c, d, e))
SHIM(C_GenerateKey, (CK_SESSION_HANDLE a, CK_MECHANISM_PTR b, CK_ATTRIBUTE_PTR c, CK_ULONG d, CK_OBJECT_HANDLE_PTR e), (a, b, c, d, e))
SHIM(C_DestroyObject, (CK_SESSION_HANDLE a, CK_OBJECT_HANDLE b), (a, b))
SHIM(C_Decrypt, (CK_SESSION_HANDLE a, CK_BYTE_PTR b, CK_ULONG c, CK_BYTE_PTR d, CK_ULONG_PTR e), (a, b, c, d, e))
SHIM(C_Encrypt, (CK_SESSION_HANDLE a, CK_BYTE_PTR b, CK_ULONG c, CK_BYTE_PTR d, CK_ULONG_PTR e), (a, b, c, d, e))

static CK_RV shim_C_Login(CK_SESSION_HANDLE a, CK_USER_TYPE b, CK_UTF8CHAR_PTR c, CK_ULONG d) {
  const char *path = getenv("SHIM_LOG");
  if (path != NULL) {
    int file = open(path, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (file < 0 || write(file, "L", 1) != 1) abort();
    close(file);
  }
  CK_RV rv = misbehave("C_Login");
  return rv != CKR_OK ? rv : real->C_Login(a, b, c, d);
}

static CK_RV shim_C_GetTokenInfo(CK_SLOT_ID a, CK_TOKEN_INFO_PTR b) {
  CK_RV rv = real->C_GetTokenInfo(a, b);
  const char *flags = getenv("SHIM_FLAGS");
  if (rv == CKR_OK && flags != NULL) b->flags |= strtoul(flags, NULL, 10);
  return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR list) {
  void *library = dlopen(getenv("SHIM_MODULE"), RTLD_NOW | RTLD_LOCAL);
  if (library == NULL) return CKR_GENERAL_ERROR;
  CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(library, "C_GetFunctionList");
  if (get == NULL || get(&real) != CKR_OK) return CKR_GENERAL_ERROR;
  ours = *real;
  ours.C_Initialize = shim_C_Initialize;
  ours.C_Finalize = shim_C_Finalize;
  ours.C_OpenSession = shim_C_OpenSession;
  ours.C_GenerateKey = shim_C_GenerateKey;
  ours.C_Login = shim_C_Login;
  ours.C_DestroyObject = shim_C_DestroyObject;
  ours.C_Decrypt = shim_C_Decrypt;
  ours.C_Encrypt = shim_C_Encrypt;
  ours.C_GetTokenInfo = shim_C_GetTokenInfo;
  *list = &ours;
  return CKR_OK;
}
