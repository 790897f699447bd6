"""Print the lowest versions that pyproject.toml allows, one `name==version` a line: all but torch's, which no command loads."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
for requirement in [*project["dependencies"], *project["optional-dependencies"]["openvino"]]:
    name, version = re.fullmatch(r"([\w-]+)>=([\d.]+)(?:,.*)?", requirement).groups()
    if name != "torch":
        print(f"{name}=={version}")  # noqa: T201 - for pip to read
