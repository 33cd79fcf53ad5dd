"""The quick start of the README does what it says there."""

import pathlib
import re

README = pathlib.Path(__file__).resolve().parents[1] / "README.md"


def test_the_quick_start_prints_what_it_says(server, capsys):
    [code] = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    promised = re.findall(r"^print\(.*\)  # (.*)$|^# (\{.*\})$", code, re.MULTILINE)
    code = code.replace("127.0.0.1:8453", server.address)
    exec(compile(code, str(README), "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed == [inline or below for inline, below in promised] and len(printed) == 4
