"""Calls of `pdloss-eval` on arrays."""

import csv
import json
import shutil
import subprocess
import sysconfig
import tempfile
import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

__all__ = ["Error", "recall", "verify"]


class Error(RuntimeError):
    """What the program said on standard error before it ended without a result."""


def recall(
    embeddings: Any,
    labels: Any,
    *,
    k: Union[int, Sequence[int], None] = None,
    metric: str = "cosine",
    roles: Optional[Sequence[str]] = None,
    index: str = "Flat",
    threads: Optional[int] = None,
) -> Dict[str, Any]:
    """Recall@K, R-precision and MAP@R of embeddings, exactly.

    Args:
        embeddings: `[rows, dim]`: a numpy array, a torch tensor on any device, or what numpy takes for an array. Measured as float32.
        labels: `[rows]`: class of each row; numbers or text.
        k: the K of Recall@K, one or several; by default 1, 2, 4, 8.
        metric: "cosine", "inner-product" or "l2".
        roles: `[rows]`: "query", "gallery" or "both" for each row; by default every row is looked for among all others.
        index: FAISS factory string; "Flat" is exact.
        threads: threads of the search; by default all processors.

    Returns:
        The columns of `pdloss-eval recall --out`, by name ("recall@1", "r_precision", "map@r", "queries", ...).

    Raises:
        Error: with what the program said, where the arrays do not fit or cannot be measured.
    """
    matrix = _array(embeddings, "embeddings", 2, floats=True)
    names = _array(labels, "labels", 1)
    columns = {"label": [str(label) for label in names.tolist()]}
    if roles is not None:
        columns["role"] = [str(role) for role in roles]
    for column, values in columns.items():
        if len(values) != len(matrix):
            raise Error(f"{len(values)} {column}s for {len(matrix)} rows of embeddings")
    with tempfile.TemporaryDirectory(prefix="pdloss-") as folder:
        files = Path(folder)
        _save(files / "embeddings.npy", matrix)
        with open(files / "labels.csv", "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values()))
        arguments = ["--embeddings", "embeddings.npy", "--labels", "labels.csv", "--metric", metric, "--index", index]
        if k is not None:
            arguments += ["--k", ",".join(str(int(value)) for value in ([k] if isinstance(k, int) else k))]
        if threads is not None:
            arguments += ["--threads", str(int(threads))]
        return _run(["recall", *arguments], files)


def verify(scores: Any, genuine: Any, *, distance: bool = False) -> Dict[str, Any]:
    """Verification figures of scores: EER, AUC, FNMR at FMR, d' and more.

    Args:
        scores: `[pairs]`: how alike the two of each pair are.
        genuine: `[pairs]`: true (or 1) where both are of one class, false (or 0) for impostors.
        distance: the scores are distances: smaller is more alike.

    Returns:
        The columns of `pdloss-eval scores --out`, by name ("eer", "d_prime", "fnmr@fmr=0.001", ...).

    Raises:
        Error: with what the program said, also where there is no genuine pair or no impostor.
    """
    values = _array(scores, "scores", 1, floats=True)
    same = _array(genuine, "genuine", 1)
    if len(values) != len(same):
        raise Error(f"{len(same)} values of genuine for {len(values)} scores")
    if same.dtype != bool and not ((same == 0) | (same == 1)).all():
        raise Error("genuine holds other values than true, false, 1 and 0")
    same = same.astype(bool)
    with tempfile.TemporaryDirectory(prefix="pdloss-") as folder:
        files = Path(folder)
        _save(files / "genuine.npy", values[same])
        _save(files / "impostor.npy", values[~same])
        arguments = ["--genuine", "genuine.npy", "--impostor", "impostor.npy"]
        return _run(["scores", *arguments, *(["--distance"] if distance else [])], files)


def _run(arguments: List[str], folder: Path) -> Dict[str, Any]:
    command = [_program("pdloss-eval"), *arguments, "--out", "result.json"]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise Error(said or f"{command[0]} ended with {done.returncode}")
    (result,) = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    # The folder is gone when the caller reads the result.
    for column in ("data", "genuine_file", "impostor_file"):
        result.pop(column, None)
    if result.get("notes"):
        warnings.warn(result["notes"], stacklevel=3)
    return result


def _program(name: str) -> str:
    """The program of this Python's environment, else on the path."""
    found = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if found is None:
        raise Error(f"the program {name} is neither in {sysconfig.get_path('scripts')} nor on PATH: pip install pdloss")
    return found


def _array(values: Any, name: str, axes: int, floats: bool = False) -> Any:
    try:
        import numpy
    except ImportError as error:
        raise Error("measuring arrays needs numpy: pip install numpy") from error

    if hasattr(values, "detach"):  # torch
        values = values.detach().cpu()
        values = (values.float() if floats and values.dtype.itemsize < 4 else values).numpy()
    array = numpy.asarray(values)
    if array.ndim != axes:
        raise Error(f"{name} has shape {list(array.shape)}; wanted {axes} {'axis' if axes == 1 else 'axes'}")
    if floats and array.dtype not in (numpy.float32, numpy.float64):
        array = array.astype(numpy.float32 if array.dtype == numpy.float16 else numpy.float64)
    return array


def _save(path: Path, array: Any) -> None:
    import numpy

    numpy.save(path, numpy.ascontiguousarray(array), allow_pickle=False)
