"""Writes the package of sdk/python, as a zip archive, into a C++ source.

Usage: embed.py sdk/python out.cc
"""

import io
import pathlib
import sys
import zipfile

# The bytes must depend on the files alone, or every build would differ.
THE_SAME_DATE = (1980, 1, 1, 0, 0, 0)


def archive_of(folder):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted((folder / "opscore").rglob("*")):
            if path.suffix == ".py" or path.name == "py.typed":
                name = str(path.relative_to(folder))
                archive.writestr(zipfile.ZipInfo(name, THE_SAME_DATE), path.read_bytes())
    return packed.getvalue()


def main(folder, target):
    packed = archive_of(pathlib.Path(folder))
    lines = [
        "    " + "".join(f"{byte}," for byte in packed[at : at + 24])
        for at in range(0, len(packed), 24)
    ]
    with open(target, "w", encoding="ascii") as file:
        file.write(
            '#include "opscore/actor/python/package.h"\n\n'
            "namespace opscore {\n\n"
            "static const unsigned char kPackage[] = {\n" + "\n".join(lines) + "\n};\n\n"
            "std::string_view python_package() {\n"
            "  return {reinterpret_cast<const char*>(kPackage), sizeof kPackage};\n}\n\n"
            "}  // namespace opscore\n"
        )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
