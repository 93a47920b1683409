"""Checks of the written pages: spelling, equations, glossary terms, messages of the troubleshooting page."""

import ast
import re
import subprocess
import sys

from conftest import ROOT

READ = (
    "README.md",
    "CHANGELOG.md",
    "CITATION.cff",
    "book/data",
    "notebooks",
    "nsdlib",
    "tests",
    "benchmarks",
    "params",
    "profiles",
)
METHOD, GLOSSARY, TROUBLE = ((ROOT / "book" / f"{name}.md").read_text() for name in ("method", "glossary", "troubleshooting"))
OWN_DATA = (ROOT / "book" / "your_own_data.template.md").read_text()
MESSAGES = re.findall(r"^(`+)(.+)\1\n:", f"{TROUBLE}\n{OWN_DATA}", re.MULTILINE)
WORDS = """BOLD, HRF, beta, GLMsingle, noise ceiling, ROI, nsdgeneral, voxel, TR, VDVAE, latent, posterior, prior, KL, ridge, GRU,
CLIP, DDIM, guidance, strength, two-way identification, SSIM, PixCorr, protocol, floor, ceiling, leak, demo zoo,
simulated subject"""


def test_spelling():
    pages = [path for path in (ROOT / "book").glob("*.md") if not path.with_suffix(".template.md").exists()]  # those are filled
    files = [*READ, *(f"book/{path.name}" for path in pages), "zoo/demo/README.md"]
    command = [sys.executable, "-m", "codespell_lib", "--skip", "*.safetensors", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_spelling_check_finds_a_mistake(tmp_path):
    (tmp_path / "page.md").write_text("The voxels were " + "rec" + "ieved.")
    command = [sys.executable, "-m", "codespell_lib", "page.md"]
    assert "received" in subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout


def test_the_papers_nine_equations_are_there_and_can_be_linked_to():
    tagged = re.findall(r"\(eq-(\d)\)=\n\$\$\n(?:(?!\$\$).)*?\\tag\{(\d)\}\n\$\$", METHOD, re.DOTALL)
    assert sorted(tagged) == [(str(n), str(n)) for n in range(1, 10)]
    for before in re.split(r"\(eq-\d\)=", METHOD)[:-1]:
        assert "{cite}" in before[before.rfind("$$") :]  # in the words that lead to each


def test_the_glossary_explains_each_word_once():
    explained = re.findall(r"^(\S.*)\n  \S", GLOSSARY, re.MULTILINE)
    assert len(explained) == len(set(explained)) and {word.strip() for word in WORDS.split(",")} <= set(explained)


def texts():
    """Every text in nsdlib's code, with an ellipsis for what is put into it."""
    for file in [*(ROOT / "nsdlib").rglob("*.py"), *(ROOT / "book" / "_ext").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.JoinedStr):
                yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_quoted_message_is_one_of_ours():
    ours, quoted = list(texts()), [text.strip() for _, text in MESSAGES]
    assert len(quoted) >= 20
    for message in quoted:
        pattern = ".*".join(re.escape(part.strip()) for part in message.split("…"))
        assert len(message.replace("…", "").split()) >= 3
        assert any(re.search(pattern, text, re.DOTALL) for text in ours), message
