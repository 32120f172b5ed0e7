"""Draw the secrets that docker-compose.yml asks for and .env lacks; run in the project's folder."""

import os
import re
import secrets
from pathlib import Path

ENV = Path(".env")

wanted = dict.fromkeys(re.findall(r"\$\{(\w+):\?", Path("docker-compose.yml").read_text()))
kept = ENV.read_text() if ENV.exists() else ""
missing = [name for name in wanted if not re.search(rf"(?m)^{name}=.", kept)]
descriptor = os.open(ENV, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
with os.fdopen(descriptor, "a") as env:
    if kept and not kept.endswith("\n"):
        env.write("\n")
    env.writelines(f"{name}={secrets.token_hex(32)}\n" for name in missing)
os.chmod(ENV, 0o600)
