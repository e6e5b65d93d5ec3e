"""Writes api/openapi.yaml, as JSON, into a C++ source. Usage: embed.py openapi.yaml out.cc"""

import json
import sys

import yaml


def main(source, target):
    with open(source, encoding="utf-8") as file:
        document = yaml.safe_load(file)
    text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
    # Compilers bound the length of one literal; adjacent ones are joined.
    pieces = [text[at : at + 8000] for at in range(0, len(text), 8000)]
    literals = "\n".join(f'    R"openapi({piece})openapi"' for piece in pieces)
    with open(target, "w", encoding="utf-8") as file:
        file.write(
            '#include "opscore/api/openapi.h"\n\n'
            "namespace opscore {\n\n"
            f"std::string_view openapi_json() {{\n  return\n{literals};\n}}\n\n"
            "}  // namespace opscore\n"
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
