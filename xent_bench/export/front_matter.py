"""The front matter of a model card: facts for machines, in the YAML that Hugging Face reads."""

from collections.abc import Mapping
from typing import Any

import yaml

from xent_bench.export.description import NOT_STATED
from xent_bench.runs.result import Run

# licences by the names that Hugging Face knows; another one is 'other' there, with its name
LICENCES = {
    *("apache-2.0", "mit", "isc", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "unlicense"),
    *("gpl-3.0", "lgpl-3.0", "agpl-3.0", "openrail"),
    *("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0"),
}


def front_matter(form: str, run: Run, description: Mapping[str, Any]) -> str:
    """Write the YAML between two lines of dashes; what is not known is not in it."""
    top1 = {"type": "accuracy", "value": round(description["metrics"]["top1"]["value"], 6)}
    content: dict[str, Any] = {
        "tags": ["calibrated", "xent-bench", str(run.params["loss"])],
        "model-index": [
            {
                "name": run.name,
                "results": [
                    {
                        "task": {"type": _task(description)},
                        "dataset": {"name": run.params["data"], "type": run.params["data"]},
                        "metrics": [top1],
                    }
                ],
            }
        ],
    }
    if description["input"]["dtype"] == "uint8":
        content = {"pipeline_tag": "image-classification"} | content
    licence = description["licence"]
    if licence.lower() in LICENCES:
        content = {"license": licence.lower()} | content
    elif licence != NOT_STATED:
        content = {"license": "other", "license_name": licence} | content
    if form == "onnx":
        content = {"library_name": "onnx"} | content
    return f"---\n{yaml.safe_dump(content, sort_keys=False, allow_unicode=True)}---"


def _task(description: Mapping[str, Any]) -> str:
    is_image = description["input"]["dtype"] == "uint8"
    return "image-classification" if is_image else "tabular-classification"
