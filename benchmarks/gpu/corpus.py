#!/usr/bin/env python3
"""Real text for the accuracy runs, from what a Debian machine with the .NET SDK has installed: English manual pages, Perl's
documentation, Python's doc strings and the .NET API documentation.

    benchmarks/gpu/corpus.py FOLDER [--limit MIB]

Writes train.txt and valid.txt (UTF-8, documents parted by a zero byte) and corpus.json, which states sources, sizes and hashes. A
document is one manual page, one .pod file, one module's doc strings or the members of one .NET type. Equal documents count once, and so
does every longer line, wherever it stands again (licences, options that a hundred pages share): what is left has to be predicted, not
found again. One document in twenty, chosen by its hash, is for validation.
"""
import argparse
import ast
import gzip
import hashlib
import json
import pathlib
import re
import shutil
import sys
import xml.etree.ElementTree as ElementTree
from collections import defaultdict

LEAST = 400  # characters; less is a pointer to another page
LINE = 25  # characters from which on a line counts once


def manual_pages():
    for path in sorted(pathlib.Path("/usr/share/man").glob("man[1-8]/*.gz")):
        try:
            source = gzip.open(path, "rt", encoding="utf-8", errors="strict").read()
        except (OSError, UnicodeDecodeError):
            continue
        lines = [line for line in source.splitlines() if not re.match(r"^[.'](\\\"|ig|de|ie|el|if|nr|ds|so|tr|\s*$)", line)]
        text = "\n".join(re.sub(r"^\.[A-Za-z]{1,3}\s*", "", line).replace('"', "") for line in lines)
        text = re.sub(r"\\f(\[[^]]*\]|\(..|.)|\\s[-+]?\d+|\\[&/,|^]", "", text)
        text = re.sub(r"\\\((\w\w|lq|rq|aq|em)|\\\*\([A-Z\"']{2}", " ", text)
        yield text.replace("\\-", "-").replace("\\e", "\\").replace("\\ ", " ")


def perl_pages():
    for path in sorted(pathlib.Path("/usr/share/perl").rglob("*.p[om]*")):
        try:
            source = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        sections = re.findall(r"^=(?:head1|pod).*?(?=^=cut|\Z)", source, re.S | re.M)
        text = re.sub(r"^=\w+ ?", "", "\n".join(sections), flags=re.M)
        yield re.sub(r"[A-Z]<+\s?([^<>]*?)\s?>+", r"\1", text)


def python_doc_strings():
    for root in sorted(pathlib.Path("/usr/lib").glob("python3*")):
        for path in sorted(root.rglob("*.py")):
            try:
                tree = ast.parse(path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, SyntaxError, ValueError, RecursionError):
                continue
            nodes = [n for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))]
            yield "\n\n".join(f"{getattr(n, 'name', path.stem)}: {ast.get_docstring(n)}" for n in nodes if ast.get_docstring(n))


def dotnet_documentation():
    dotnet = shutil.which("dotnet")
    if dotnet is None:
        return
    for path in sorted((pathlib.Path(dotnet).resolve().parent / "packs").glob("*.Ref/*/ref/*/*.xml")):
        types = defaultdict(list)
        for member in ElementTree.parse(path).getroot().iter("member"):
            name = member.get("name", "")
            owner = re.sub(r"\(.*", "", name[2:])
            owner = owner if name.startswith("T:") else owner.rsplit(".", 1)[0]
            for reference in member.iter():
                target = reference.get("cref") or reference.get("name") or reference.get("langword")
                if target and not reference.text:
                    reference.text = re.sub(r"^\w:|\(.*", "", target).split(".")[-1]
            words = " ".join("".join(member.itertext()).split())
            types[owner].append(f"{name[2:]}\n{words}")
        for owner in sorted(types):
            yield "\n\n".join(types[owner])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--limit", type=float, default=48, help="MiB of text at most (default 48)")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    seen, lines, sources, documents = set(), set(), {}, []

    def new_lines(text):
        for line in text.split("\n"):
            key = hash(" ".join(line.split()))
            if len(line) < LINE or key not in lines:
                lines.add(key)
                yield line

    for source in (manual_pages, perl_pages, python_doc_strings, dotnet_documentation):
        before = len(documents)
        for text in source():
            content = re.sub(r"\n{3,}", "\n\n", "\n".join(new_lines(text.replace("\0", "")))).strip().encode()
            key = hashlib.sha256(content).digest()
            if len(content) >= LEAST and key not in seen:
                seen.add(key)
                documents.append((key, content))
        sources[source.__name__] = {"documents": len(documents) - before, "bytes": sum(len(c) for _, c in documents[before:])}
    # By hash: an order and a choice that do not hang on the machine's directory order.
    documents.sort()
    total, limit = 0, int(arguments.limit * (1 << 20))
    parts = {"train": bytearray(), "valid": bytearray()}
    for key, content in documents:
        if (total := total + len(content)) > limit:
            break
        parts["valid" if key[-1] % 20 == 0 else "train"].extend(content + b"\0")
    facts = {"sources": sources}
    for name, content in parts.items():
        (arguments.folder / f"{name}.txt").write_bytes(content)
        facts[name] = {"bytes": len(content), "documents": content.count(0), "sha256": hashlib.sha256(content).hexdigest()}
    (arguments.folder / "corpus.json").write_text(json.dumps(facts, indent=2) + "\n")
    print(json.dumps(facts, indent=2))
    return 0 if parts["valid"] else 1


if __name__ == "__main__":
    sys.exit(main())
