"""What a model card says about windows: how documents were scored, and code that scores them so without glue-lit."""

import json

from glue_lit.data.window_settings import Windows


def describe_windows(windows: Windows | None, length: int, place: str, is_onnx: bool, has_code: bool) -> str:
    """Markdown for the model card; empty without windows.

    Args:
        windows: The settings that the model was trained with.
        length: Tokens of a window.
        place: The name to load the model by.
        is_onnx: Whether the weights are in ``model.onnx``; then the code continues that which loads it.
        has_code: Whether the folder holds code that builds the model.
    """
    if windows is None:
        return ""
    made = "mean" if windows.pooling == "mean" else "maximum for each output"
    call = (
        f'windows = tokenizer("...", truncation=True, max_length={length}, stride={windows.stride}, padding=True,\n'
        f'                    return_overflowing_tokens=True, return_tensors="{"np" if is_onnx else "pt"}")'
    )
    code = _with_onnx(windows, call) if is_onnx else _with_torch(windows, call, place, has_code)
    return (
        f"\n## Long documents\nIt was trained on windows of {length} tokens, of which neighbours share "
        f"{windows.stride}, and its scores are by document: the logits of a document are the {made} of those of its "
        f"windows (`glue_lit` in `config.json`). The folder holds the plain model, which reads one window; the code "
        f"above cuts a document after the first. This scores a whole document:\n\n```python\n{code}```\n"
    )


def _with_torch(windows: Windows, call: str, place: str, has_code: bool) -> str:
    trust = ", trust_remote_code=True" if has_code else ""
    pooled = "mean" if windows.pooling == "mean" else "amax"
    return (
        "import torch\nfrom transformers import AutoModelForSequenceClassification, AutoTokenizer\n\n"
        f"tokenizer = AutoTokenizer.from_pretrained({json.dumps(place)}{trust})\n"
        f"model = AutoModelForSequenceClassification.from_pretrained({json.dumps(place)}{trust}).eval()\n"
        f'{call}\ndel windows["overflow_to_sample_mapping"]\n'
        f"with torch.inference_mode():\n    logits = model(**windows).logits.{pooled}(dim=0)\n"
    )


def _with_onnx(windows: Windows, call: str) -> str:
    return (
        f"{call}\n(logits,) = session.run(None, {{name: windows[name] for name in names}})\n"
        f"logits = logits.{windows.pooling}(axis=0)\n"
    )
