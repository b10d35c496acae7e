"""What the README shows works."""

import re
import subprocess
import sys

from tests.support import PATIENCE, ROOT, Server, clean_environment


def test_the_example_trades(server: Server) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert program.count("\n") <= 20
    ended = subprocess.run(
        [sys.executable, "-c", program.replace("localhost:7001", f"127.0.0.1:{server.private}")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        cwd=ROOT,
        env=clean_environment(),
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    new, fill = ended.stdout.splitlines()
    assert new.startswith("New(order_id=")
    assert fill.startswith("Fill(order_id=")
    assert "price=Decimal('145.25'), quantity=Decimal('100')" in fill
