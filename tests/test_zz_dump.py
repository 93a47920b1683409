import base64, os, re, json
from pathlib import Path
import pytest
from nsdlib.plots import explore
from test_explore import _quiet_figures, run  # noqa
OUT = Path(os.environ["DUMP"])
@pytest.mark.parametrize("name", ["hrf_explorer", "roi_explorer", "reconstruction_explorer", "what_if"])
def test_dump(run, name):
    OUT.mkdir(exist_ok=True)
    e = getattr(explore, name)(run).open()
    said = [e.message.value]
    for k, (data, text) in enumerate(re.findall(r'base64,([^"]+)" alt="([^"]+)"', e.images.value)):
        (OUT / f"{name}_{k}.png").write_bytes(base64.b64decode(data)); said.append(text)
    said.append({k: (str(getattr(c, "options", None) or (c.min, c.max))[:200], str(c.value)) for k, c in e.controls.items()})
    (OUT / f"{name}.json").write_text(json.dumps(said, indent=1))
