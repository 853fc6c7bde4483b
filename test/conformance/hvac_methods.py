"""Lists the public methods of hvac's API classes, and drives those that belong to what this server has.

Prints JSON: {"methods": [...], "passed": [...]}. Arguments: URL and token file of an open box, URL of an empty one whose
quorum may act (seal.ceremonies), URL of a second empty one; then a PostgreSQL server: connection URL, a login that may make
others, its password, and an ordinary login.
"""

import base64
import inspect
import json
import sys
import warnings

import hvac
from hvac.api.auth_methods import token as token_module
from hvac.api.secrets_engines import database, kv_v1, kv_v2

url, token_file, empty_url, second_url, pg_url, pg_user, pg_password, pg_login = sys.argv[1:9]
# Older methods say that they are older, each time: the client turns the filter of warnings back on.
warnings.showwarning = lambda *about, **more: None
with open(token_file, encoding="utf-8") as handle:
    root = handle.read().strip()
client = hvac.Client(url=url, token=root)


def methods_of(prefix, cls):
    return [
        f"{prefix}.{name}"
        for name, value in inspect.getmembers(cls)
        if not name.startswith("_") and inspect.isfunction(value)
    ]


listed = []
for name, cls in inspect.getmembers(hvac.api.system_backend, inspect.isclass):
    listed += methods_of("sys", cls)
listed += methods_of("kv1", kv_v1.KvV1) + methods_of("kv2", kv_v2.KvV2)
listed += methods_of("token", token_module.Token)
listed += methods_of("database", database.Database)
# What a client has beside methods: its parts and settings.
parts = {"adapter", "allow_redirects", "auth", "secrets", "session", "sys", "token", "url"}
listed += [f"client.{name}" for name, _ in inspect.getmembers(hvac.Client) if not name.startswith("_") and name not in parts]
passed = []


def done(name, condition):
    if not condition:
        raise SystemExit(f"{name}: the answer is not what it should be")
    passed.append(name)


def refused(call, words):
    """Whether the server refuses a call with these words."""
    try:
        call()
    except hvac.exceptions.VaultError as error:
        return words in str(error)
    return False


sys_ = client.sys
done("sys.is_initialized", sys_.is_initialized())
done("sys.is_sealed", not sys_.is_sealed())
done("sys.read_init_status", sys_.read_init_status()["initialized"])
done("sys.read_seal_status", sys_.read_seal_status()["sealed"] is False)
done("sys.read_leader_status", sys_.read_leader_status()["ha_enabled"] is False)
done("sys.read_health_status", sys_.read_health_status(method="GET")["sealed"] is False)
done("sys.list_mounted_secrets_engines", "secret/" in sys_.list_mounted_secrets_engines()["data"])
for old in ("hv1", "hv2", "hv9"):
    sys_.disable_secrets_engine(old)
sys_.enable_secrets_engine("kv", path="hv1", options={"version": "1"})
sys_.enable_secrets_engine("kv", path="hv2", options={"version": "2"})
done("sys.enable_secrets_engine", "hv1/" in sys_.list_mounted_secrets_engines()["data"])
done("sys.read_mount_configuration", sys_.read_mount_configuration("hv1")["data"]["max_lease_ttl"] > 0)
sys_.tune_mount_configuration("hv1", default_lease_ttl="1h")
done("sys.tune_mount_configuration", sys_.read_mount_configuration("hv1")["data"]["default_lease_ttl"] == 3600)
done("sys.retrieve_mount_option", sys_.retrieve_mount_option("hv2", "version") == "2")
done("sys.list_auth_methods", "token/" in sys_.list_auth_methods()["data"])
sys_.create_or_update_policy("hp", 'path "hv1/*" { capabilities = ["read"] }')
done("sys.create_or_update_policy", "hp" in sys_.list_policies()["data"]["policies"])
done("sys.list_policies", True)
done("sys.read_policy", "hv1" in sys_.read_policy("hp")["data"]["rules"])
done("sys.delete_policy", sys_.delete_policy("hp").status_code == 204)
done("sys.get_capabilities", "root" in sys_.get_capabilities(["hv1/x"])["capabilities"])
wrapped = client.write("sys/wrapping/wrap", wrap_ttl="60s", a="b")["wrap_info"]["token"]
done("sys.unwrap", sys_.unwrap(wrapped)["data"] == {"a": "b"})
sys_.move_backend("hv1", "hv9")
done("sys.move_backend", "hv9/" in sys_.list_mounted_secrets_engines()["data"])
done("sys.disable_secrets_engine", sys_.disable_secrets_engine("hv9").status_code == 204)
sys_.enable_secrets_engine("kv", path="hv1", options={"version": "1"})

one = client.secrets.kv.v1
one.create_or_update_secret("a/b", {"k": "v"}, mount_point="hv1")
done("kv1.create_or_update_secret", one.read_secret("a/b", mount_point="hv1")["data"] == {"k": "v"})
done("kv1.read_secret", True)
done("kv1.list_secrets", one.list_secrets("a", mount_point="hv1")["data"]["keys"] == ["b"])
done("kv1.delete_secret", one.delete_secret("a/b", mount_point="hv1").status_code == 204)

two = client.secrets.kv.v2
done("kv2.configure", two.configure(max_versions=5, mount_point="hv2").status_code == 204)
done("kv2.read_configuration", two.read_configuration(mount_point="hv2")["data"]["max_versions"] == 5)
done("kv2.create_or_update_secret", two.create_or_update_secret("a", {"k": "1"}, mount_point="hv2")["data"]["version"] == 1)
done("kv2.patch", two.patch("a", {"l": "2"}, mount_point="hv2")["data"]["version"] == 2)
done("kv2.read_secret", two.read_secret("a", mount_point="hv2")["data"]["data"] == {"k": "1", "l": "2"})
done("kv2.read_secret_version", two.read_secret_version("a", version=1, mount_point="hv2")["data"]["data"] == {"k": "1"})
two.update_metadata("a", max_versions=7, mount_point="hv2")
done("kv2.update_metadata", two.read_secret_metadata("a", mount_point="hv2")["data"]["max_versions"] == 7)
done("kv2.read_secret_metadata", True)
done("kv2.list_secrets", two.list_secrets("", mount_point="hv2")["data"]["keys"] == ["a"])
done("kv2.delete_latest_version_of_secret", two.delete_latest_version_of_secret("a", mount_point="hv2").status_code == 204)
done("kv2.undelete_secret_versions", two.undelete_secret_versions("a", [2], mount_point="hv2").status_code == 204)
done("kv2.delete_secret_versions", two.delete_secret_versions("a", [1], mount_point="hv2").status_code == 204)
done("kv2.destroy_secret_versions", two.destroy_secret_versions("a", [1], mount_point="hv2").status_code == 204)
done("kv2.delete_metadata_and_all_versions", two.delete_metadata_and_all_versions("a", mount_point="hv2").status_code == 204)

tokens = client.auth.token
made = tokens.create(policies=["default"], ttl="1h")["auth"]
done("token.create", made["lease_duration"] == 3600)
done("token.lookup", tokens.lookup(made["client_token"])["data"]["accessor"] == made["accessor"])
done("token.lookup_self", tokens.lookup_self()["data"]["policies"] == ["root"])
done("token.lookup_accessor", tokens.lookup_accessor(made["accessor"])["data"]["id"] == "")
done("token.list_accessors", made["accessor"] in tokens.list_accessors()["data"]["keys"])
done("token.renew", tokens.renew(made["client_token"])["auth"]["accessor"] == made["accessor"])
done("token.renew_accessor", tokens.renew_accessor(made["accessor"])["auth"]["client_token"] == "")
own = hvac.Client(url=url, token=made["client_token"])
done("token.renew_self", own.auth.token.renew_self()["auth"]["renewable"])
done("token.revoke_self", own.auth.token.revoke_self().status_code == 204)
second = tokens.create(policies=["default"])["auth"]
done("token.revoke_accessor", tokens.revoke_accessor(second["accessor"]).status_code == 204)
third = tokens.create(policies=["default"])["auth"]
done("token.revoke", tokens.revoke(third["client_token"]).status_code == 204)
fourth = tokens.create(policies=["default"])["auth"]
done("token.revoke_and_orphan_children", tokens.revoke_and_orphan_children(fourth["client_token"]).status_code == 204)
done("token.create_or_update_role", tokens.create_or_update_role("r", allowed_policies="default").status_code == 204)
done("token.read_role", tokens.read_role("r")["data"]["allowed_policies"] == ["default"])
done("token.list_roles", tokens.list_roles()["data"]["keys"] == ["r"])
done("token.tidy", tokens.tidy().status_code == 202)
done("sys.calculate_hash", sys_.calculate_hash("log", "x")["data"]["hash"].startswith("hmac-sha256:"))
done("sys.list_enabled_audit_devices", "log/" in sys_.list_enabled_audit_devices()["data"])
done("sys.get_encryption_key_status", sys_.get_encryption_key_status()["data"]["term"] == 1)
done("sys.read_auth_method_tuning", sys_.read_auth_method_tuning("token")["data"]["max_lease_ttl"] > 0)
done("sys.tune_auth_method", sys_.tune_auth_method("token", description="t").status_code == 204)
done("token.delete_role", tokens.delete_role("r").status_code == 204)

# The client's own methods: the plain verbs, and older names of what its classes do.
client.write("hv1/c", k="v")
done("client.write", client.read("hv1/c")["data"] == {"k": "v"})
done("client.read", client.read("hv1/absent") is None)
done("client.list", client.list("hv1")["data"]["keys"] == ["c"])
client.delete("hv1/c")
done("client.delete", client.list("hv1") is None)
done("client.is_initialized", client.is_initialized())
done("client.is_sealed", not client.is_sealed())
done("client.seal_status", client.seal_status["sealed"] is False)
done("client.ha_status", client.ha_status["ha_enabled"] is False)
done("client.key_status", client.key_status["term"] == 1)
done("client.is_authenticated", client.is_authenticated() and not hvac.Client(url=url, token="hvs.nobody").is_authenticated())
client.set_policy("hp", 'path "hv1/*" { capabilities = ["read"] }')
done("client.set_policy", "hp" in client.list_policies())
done("client.list_policies", True)
done("client.get_policy", "hv1" in client.get_policy("hp") and client.get_policy("absent") is None)
client.delete_policy("hp")
done("client.delete_policy", "hp" not in client.list_policies())
client.enable_secret_backend("kv", mount_point="hv3")
done("client.enable_secret_backend", "hv3/" in client.list_secret_backends()["data"])
done("client.list_secret_backends", True)
client.tune_secret_backend("kv", mount_point="hv3", default_lease_ttl="2h")
done("client.tune_secret_backend", client.get_secret_backend_tuning("kv", mount_point="hv3")["data"]["default_lease_ttl"] == 7200)
done("client.get_secret_backend_tuning", True)
client.remount_secret_backend("hv3", "hv4")
done("client.remount_secret_backend", "hv4/" in client.list_secret_backends()["data"])
client.disable_secret_backend("hv4")
done("client.disable_secret_backend", "hv4/" not in client.list_secret_backends()["data"])
done("client.list_auth_backends", "token/" in client.list_auth_backends()["data"])
done("client.list_audit_backends", "log/" in client.list_audit_backends()["data"])
done("client.audit_hash", client.audit_hash("log", "x")["data"]["hash"].startswith("hmac-sha256:"))
old = client.create_token(policies=["default"], lease="1h")["auth"]
done("client.create_token", old["lease_duration"] == 3600)
done("client.lookup_token", client.lookup_token(old["client_token"])["data"]["accessor"] == old["accessor"])
done("client.renew_token", client.renew_token(old["client_token"])["auth"]["renewable"])
own = hvac.Client(url=url, token=old["client_token"])
done("client.renew_self_token", own.renew_self_token()["auth"]["renewable"])
own.revoke_self_token()
done("client.revoke_self_token", not own.is_authenticated())
old = client.create_token(policies=["default"])["auth"]
client.revoke_token(old["accessor"], accessor=True)
done("client.revoke_token", not hvac.Client(url=url, token=old["client_token"]).is_authenticated())
client.create_token_role("hr", allowed_policies="default")
done("client.create_token_role", client.token_role("hr")["data"]["name"] == "hr")
done("client.token_role", True)
done("client.list_token_roles", client.list_token_roles()["data"]["keys"] == ["hr"])
client.delete_token_role("hr")
done("client.delete_token_role", client.token_role("hr") is None)
wrapped = client.write("sys/wrapping/wrap", wrap_ttl="60s", a="b")["wrap_info"]["token"]
done("client.unwrap", client.unwrap(wrapped)["data"] == {"a": "b"})
cubby = hvac.Client(url=url)
wrapped = client.auth.token.create(policies=["default"], wrap_ttl="60s")["wrap_info"]["token"]
cubby.auth_cubbyhole(wrapped)
done("client.auth_cubbyhole", cubby.is_authenticated())
cubby.logout(revoke_token=True)
done("client.logout", cubby.token is None)
cubby.token = client.auth.token.create(policies=["default"], wrap_ttl="60s")["wrap_info"]["token"]
cubby.login("/v1/sys/wrapping/unwrap")
done("client.login", cubby.is_authenticated())
client.tune_auth_backend("token", description="older")
done("client.tune_auth_backend", client.get_auth_backend_tuning("token")["data"]["description"] == "older")
done("client.get_auth_backend_tuning", True)
done("client.urljoin", client.urljoin("v1", "sys") == "v1/sys")
cubby.close()
done("client.close", True)

# Logins on a database server, and their leases.
db = client.secrets.database
client.sys.enable_secrets_engine("database")
plugin = "postgresql-database-plugin"
login = {"connection_url": pg_url, "username": pg_user, "password": pg_password}
done("database.configure", db.configure("c", plugin, allowed_roles="*", **login).status_code == 204)
done("database.read_connection", db.read_connection("c")["data"]["connection_details"]["username"] == pg_user)
done("database.list_connections", db.list_connections()["data"]["keys"] == ["c"])
create = "CREATE ROLE \"{{name}}\" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"
done("database.create_role", db.create_role("r", "c", [create], default_ttl="1h", max_ttl="2h").status_code == 204)
done("database.read_role", db.read_role("r")["data"]["creation_statements"] == [create])
done("database.list_roles", db.list_roles()["data"]["keys"] == ["r"])
issued = db.generate_credentials("r")
lease = issued["lease_id"]
done("database.generate_credentials", issued["lease_duration"] == 3600 and issued["data"]["username"].startswith("v-"))
done("sys.read_lease", client.sys.read_lease(lease)["data"]["ttl"] > 3500)
done("client.read_lease", client.read_lease(lease)["data"]["renewable"])
done("sys.list_leases", lease.split("/")[-1] in client.sys.list_leases("database/creds/r")["data"]["keys"])
done("sys.renew_lease", client.sys.renew_lease(lease, 600)["lease_duration"] == 600)
done("client.renew_secret", client.renew_secret(lease, 700)["lease_duration"] == 700)
done("sys.revoke_lease", client.sys.revoke_lease(lease).status_code == 204)
client.revoke_secret(db.generate_credentials("r")["lease_id"])
done("client.revoke_secret", True)
db.generate_credentials("r")
done("sys.revoke_prefix", client.sys.revoke_prefix("database/creds/r").status_code == 204)
db.generate_credentials("r")
client.revoke_secret_prefix("database/creds/r")
done("client.revoke_secret_prefix", True)
db.generate_credentials("r")
done("sys.revoke_force", client.sys.revoke_force("database/creds/r").status_code == 204)
done("database.create_static_role", db.create_static_role("s", "c", pg_login, [], 3600).status_code == 204)
done("database.list_static_roles", db.list_static_roles()["data"]["keys"] == ["s"])
done("database.get_static_credentials", db.get_static_credentials("s")["data"]["username"] == pg_login)
done("database.rotate_root_credentials", db.rotate_root_credentials("c").status_code == 204)
done("database.reset_connection", db.reset_connection("c").status_code == 204)
done("database.delete_static_role", db.delete_static_role("s").status_code == 204)
done("database.delete_role", db.delete_role("r").status_code == 204)
done("database.delete_connection", db.delete_connection("c").status_code == 204)

# An empty box, from its first share to the last.
empty = hvac.Client(url=empty_url)
made = empty.sys.initialize(secret_shares=3, secret_threshold=2)
done("sys.initialize", len(made["keys"]) == 3 and empty.sys.is_initialized())
done("sys.submit_unseal_key", empty.sys.submit_unseal_key(made["keys"][2])["progress"] == 1)
done("client.unseal_reset", empty.unseal_reset()["progress"] == 0)
done("sys.submit_unseal_keys", empty.sys.submit_unseal_keys(made["keys"][:2])["sealed"] is False)
empty.token = made["root_token"]
done("sys.seal", empty.sys.seal().status_code == 204 and empty.sys.is_sealed())
done("client.unseal", empty.unseal(made["keys_base64"][0])["progress"] == 1)
done("client.unseal_multi", empty.unseal_multi(made["keys"][1:])["sealed"] is False)
empty.seal()
done("client.seal", empty.is_sealed())
empty.unseal_multi(made["keys"])


PAD = "A" * 28


def root_token(start, give, status):
    begun = start()
    assert status()["started"]
    for key in made["keys"][:2]:
        last = give(key, begun["nonce"])
    assert last["complete"]
    encoded = last["encoded_root_token"]
    pad = base64.b64decode(encoded + "=" * (-len(encoded) % 4))
    token = bytes(a ^ b for a, b in zip(pad, PAD.encode())).decode()
    return hvac.Client(url=empty_url, token=token).auth.token.lookup_self()["data"]["policies"] == ["root"]


# Of no lease: what a mistyped id is answered.
done("sys.read_lease", refused(lambda: sys_.read_lease("nothere/x"), "invalid lease"))
done("sys.renew_lease", refused(lambda: sys_.renew_lease("nothere/x", increment=60), "lease not found"))
done("sys.list_leases", refused(lambda: sys_.list_leases("nothere"), ""))
done("sys.revoke_lease", sys_.revoke_lease("nothere/x").status_code == 204)
done("sys.revoke_prefix", sys_.revoke_prefix("nothere").status_code == 204)
done("sys.revoke_force", sys_.revoke_force("nothere").status_code == 204)
done("client.read_lease", refused(lambda: client.read_lease("nothere/x"), "invalid lease"))
done("client.renew_secret", refused(lambda: client.renew_secret("nothere/x"), "lease not found"))
done("client.revoke_secret", client.revoke_secret("nothere/x").status_code == 204)
client.revoke_secret_prefix("nothere")
done("client.revoke_secret_prefix", True)

done("sys.generate_root", root_token(lambda: empty.sys.start_root_token_generation(otp=PAD), empty.sys.generate_root, empty.sys.read_root_generation_progress))
done("sys.start_root_token_generation", True)
done("sys.read_root_generation_progress", True)
done("client.generate_root", root_token(lambda: empty.start_generate_root(PAD, otp=True), empty.generate_root, lambda: empty.generate_root_status))
done("client.start_generate_root", True)
done("client.generate_root_status", True)

begun = empty.sys.start_rekey(secret_shares=5, secret_threshold=3)
done("sys.start_rekey", begun["n"] == 5)
done("sys.read_rekey_progress", empty.sys.read_rekey_progress()["started"])
done("sys.rekey", empty.sys.rekey(made["keys"][0], nonce=begun["nonce"])["progress"] == 1)
keys = empty.sys.rekey_multi(made["keys"][1:], nonce=begun["nonce"])["keys"]
done("sys.rekey_multi", len(keys) == 5)
begun = empty.start_rekey(3, 2)
done("client.start_rekey", begun["n"] == 3)
done("client.rekey_status", empty.rekey_status["started"])
empty.rekey(keys[0], nonce=begun["nonce"])
done("client.rekey", empty.rekey_status["progress"] == 1)
newest = empty.rekey_multi(keys[1:], nonce=begun["nonce"])["keys"]
done("client.rekey_multi", len(newest) == 3)

# With a second round; a token with sudo gives up what is under way, and starts the round anew.
begun = empty.sys.start_rekey(secret_shares=2, secret_threshold=2, require_verification=True)
shown = empty.sys.rekey_multi(newest, nonce=begun["nonce"])
empty.sys.rekey_verify(shown["keys"][0], nonce=shown["verification_nonce"])
done("sys.read_rekey_verify_progress", empty.sys.read_rekey_verify_progress()["progress"] == 1)
again = empty.sys.cancel_rekey_verify()
done("sys.cancel_rekey_verify", empty.sys.read_rekey_verify_progress()["progress"] == 0)
again = again if isinstance(again, dict) else again.json()
verified = empty.sys.rekey_verify_multi(shown["keys"], nonce=again["nonce"])
done("sys.rekey_verify_multi", verified["complete"])
done("sys.rekey_verify", not empty.sys.read_rekey_progress()["started"])
newest = shown["keys"]
empty.sys.start_rekey(secret_shares=1, secret_threshold=1)
empty.sys.cancel_rekey()
done("sys.cancel_rekey", not empty.sys.read_rekey_progress()["started"])
empty.start_rekey(1, 1)
empty.cancel_rekey()
done("client.cancel_rekey", not empty.rekey_status["started"])
empty.sys.start_root_token_generation(otp=PAD)
empty.sys.cancel_root_generation()
done("sys.cancel_root_generation", not empty.sys.read_root_generation_progress()["started"])
empty.start_generate_root(PAD, otp=True)
empty.cancel_generate_root()
done("client.cancel_generate_root", not empty.generate_root_status["started"])
before = empty.key_status["term"]
done("sys.rotate_encryption_key", empty.sys.rotate_encryption_key().status_code == 204 and empty.key_status["term"] > before)
empty.rotate()
done("client.rotate", empty.key_status["term"] > before + 1)
empty.seal()
empty.unseal_multi(newest)
done("client.initialize", len(hvac.Client(url=second_url).initialize(1, 1)["keys"]) == 1)

print(json.dumps({"methods": sorted(set(listed)), "passed": sorted(set(passed))}))
