"""Lists the public methods of hvac's API classes, and drives those that belong to what this server has.

Prints JSON: {"methods": [...], "passed": [...]}. Arguments: URL, token file, CA file.
"""

import inspect
import json
import sys

import hvac
from hvac.api.auth_methods import token as token_module
from hvac.api.secrets_engines import kv_v1, kv_v2

url, token_file, ca = sys.argv[1:4]
with open(token_file, encoding="utf-8") as handle:
    root = handle.read().strip()
client = hvac.Client(url=url, token=root, verify=ca or True)


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
passed = []


def done(name, condition):
    if not condition:
        raise SystemExit(f"{name}: the answer is not what it should be")
    passed.append(name)


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
own = hvac.Client(url=url, token=made["client_token"], verify=ca or True)
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
done("sys.get_encryption_key_status", sys_.get_encryption_key_status()["data"]["term"] == 1) if hasattr(sys_, "get_encryption_key_status") else None
done("sys.read_auth_method_tuning", sys_.read_auth_method_tuning("token")["data"]["max_lease_ttl"] > 0)
done("sys.tune_auth_method", sys_.tune_auth_method("token", description="t").status_code == 204)
done("sys.submit_unseal_key", sys_.submit_unseal_key("00" * 33)["sealed"] is False)
done("sys.submit_unseal_keys", sys_.submit_unseal_keys(["00" * 33])["sealed"] is False)
done("token.delete_role", tokens.delete_role("r").status_code == 204)

print(json.dumps({"methods": sorted(set(listed)), "passed": sorted(set(passed))}))
