"""Executes a notebook headlessly and prints as JSON what came of it.

execute.py NOTEBOOK RUN EXPRESSION [FOLDER]

{"images": how many PNG images its cells show,
 "value": EXPRESSION, evaluated in the notebook after its last cell}
or, when a cell fails, {"error": what it raised}

RUN is the file that the notebook reads. The kernel runs in the notebook's folder, as Jupyter does it. With FOLDER the images are written there, to be looked at.
"""

import base64
import json
import os
import sys
from pathlib import Path

import nbclient
import nbformat

os.environ["PYDEVD_DISABLE_FILE_VALIDATION"] = "1"  # else the kernel warns about its debugger

notebook = nbformat.read(sys.argv[1], as_version=4)
nbformat.validate(notebook)
stored = [cell for cell in notebook.cells if cell.get("outputs") or cell.get("execution_count")]
assert not stored, "the notebook is stored with outputs"

os.environ["ICOT_RUN"] = sys.argv[2]
question = f"import json; print(json.dumps({sys.argv[3]}))"
notebook.cells.append(nbformat.v4.new_code_cell(question))
place = {"metadata": {"path": str(Path(sys.argv[1]).parent)}}
try:
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=place).execute()
except nbclient.exceptions.CellExecutionError as error:
    json.dump({"error": f"{error.ename}: {error.evalue}"}, sys.stdout)
    sys.exit()

outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
images = [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})]
for number, image in enumerate(images if len(sys.argv) > 4 else []):
    with open(f"{sys.argv[4]}/figure_{number}.png", "wb") as file:
        file.write(base64.b64decode(image))
json.dump({"images": len(images), "value": json.loads(outputs[-1]["text"])}, sys.stdout)
