"""Calls of `pdloss-eval` on arrays."""

import csv
import json
import operator
import re
import shutil
import subprocess
import sysconfig
import tempfile
import warnings
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Union

__all__ = ["Error", "recall", "verify"]

# What the program calls them, and what torch and scipy do.
_METRICS = {"cosine": "cosine", "inner-product": "ip", "ip": "ip", "dot": "ip", "l2": "l2", "euclidean": "l2"}
_ROLES = ("query", "gallery", "both")


# Sentences of the program in the words of these calls: arguments for flags, none of what lists and images alone have, and no file
# that is gone.
_IN_PYTHON = [
    (r": see --classes, --split and --label", ""),
    (r": see --split, or the roles in the list", " in roles"),
    (r": is it the right column of labels \(--label\), or a part without the others \(--split, --classes\)\?", ": do labels name classes, or rows?"),
    (r"--metric (\w+) of recall", r'metric="\1"'),
    (r"--(metric|index) (\S+)", r'\1="\2"'),
    (r"--(k|threads) (\d+)", r"\1=\2"),
    (r"--distance\b", "distance=True"),
    (r"\bembeddings\.npy\b", "embeddings"),
    (r"\blabels\.csv\b", "labels"),
    (r"\b(genuine|impostor)\.npy\b", r"the \1 scores"),
]


class Error(RuntimeError):
    """Which argument does not fit, what was wanted and what came; or what the program said before it ended without a result."""


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
        Error: naming the argument, where the arrays do not fit or cannot be measured.
    """
    matrix = _array(embeddings, "embeddings", 2, floats=True)
    names = _words(_array(labels, "labels", 1), "labels")
    columns = {"label": names}
    if roles is not None:
        columns["role"] = _words(_array(roles, "roles", 1), "roles")
        for row, role in enumerate(columns["role"]):
            if role not in _ROLES:
                raise Error(f"roles[{row}] is {role!r}; wanted one of {', '.join(map(repr, _ROLES))}")
    for values, name in ((names, "labels"), (columns.get("role", names), "roles")):
        if len(values) != len(matrix):
            raise Error(f"{len(values)} {name} for {len(matrix)} rows of embeddings")
    if not matrix.size:
        raise Error(f"embeddings has shape {list(matrix.shape)}, so there is nothing to measure")
    if metric not in _METRICS:
        raise Error(f'metric={metric!r}; wanted "cosine", "inner-product" or "l2"')
    arguments = ["--embeddings", "embeddings.npy", "--labels", "labels.csv", "--metric", _METRICS[metric], f"--index={index}"]
    if k is not None:
        arguments.append("--k=" + ",".join(str(value) for value in _counts(k, "k")))
    if threads is not None:
        arguments.append(f"--threads={_counts(threads, 'threads')[0]}")
    with tempfile.TemporaryDirectory(prefix="pdloss-") as folder:
        files = Path(folder)
        _save(files / "embeddings.npy", matrix)
        with open(files / "labels.csv", "w", newline="", encoding="utf-8") as file:
            # Quotes keep blanks at the ends of a label, and marks in it that part fields.
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values()))
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
        Error: naming the argument, also where there is no genuine pair or no impostor.
    """
    values = _array(scores, "scores", 1, floats=True)
    same = _array(genuine, "genuine", 1)
    if len(values) != len(same):
        raise Error(f"{len(same)} values of genuine for {len(values)} scores")
    for pair, (score, word) in enumerate(zip(values.tolist(), same.tolist())):
        if word not in (0, 1):
            raise Error(f"genuine[{pair}] is {word!r}; wanted true, false, 1 or 0")
        if score != score:
            raise Error(f"scores[{pair}] is NaN, which is neither above nor below a threshold")
    same = same.astype(bool)
    if same.all() or not same.any():
        count = int(same.sum())
        raise Error(f"genuine holds {count} genuine and {len(same) - count} impostor pairs; wanted at least one of each")
    with tempfile.TemporaryDirectory(prefix="pdloss-") as folder:
        files = Path(folder)
        _save(files / "genuine.npy", values[same])
        _save(files / "impostor.npy", values[~same])
        arguments = ["--genuine", "genuine.npy", "--impostor", "impostor.npy"]
        return _run(["scores", *arguments, *(["--distance"] if distance else [])], files)


def _run(arguments: List[str], folder: Path) -> Dict[str, Any]:
    command = [_program("pdloss-eval"), *arguments, "--quiet", "--color", "never", "--out", "result.json"]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        # Before its error the program prints what it noted; of a wrong command line, how a right one looks behind it.
        error = re.search(r"(?:^|\n)error: (.*?)(?:\n\n|$)", said, re.DOTALL)
        text = error.group(1) if error else said
        raise Error(_in_python(text) or f"{command[0]} ended with {done.returncode}")
    (result,) = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    # The folder is gone when the caller reads the result.
    for column in ("data", "genuine_file", "impostor_file"):
        result.pop(column, None)
    if result.get("notes"):
        result["notes"] = _in_python(result["notes"])
        warnings.warn(result["notes"], stacklevel=3)
    return result


def _in_python(said: str) -> str:
    for pattern, word in _IN_PYTHON:
        said = re.sub(pattern, word, said)
    return said.strip()


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

    if hasattr(values, "toarray"):  # scipy
        raise Error(f"{name} is sparse; wanted an array of all values: {name}.toarray()")
    try:
        if hasattr(values, "detach"):  # torch
            values = values.detach().cpu()
            values = (values.float() if floats and values.dtype.itemsize < 4 else values).numpy()
        array = numpy.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:  # rows of different lengths, a sparse tensor, one without data
        raise Error(f"{name} is no array: {error}") from error
    masked = _masked(values)
    if masked:
        raise Error(f"{name} has {masked} masked {'value' if masked == 1 else 'values'}; wanted none: leave out those rows, or fill them")
    if array.ndim != axes:
        raise Error(f"{name} has shape {list(array.shape)}; wanted {axes} {'axis' if axes == 1 else 'axes'}")
    if floats and array.dtype not in (numpy.float32, numpy.float64):
        if array.dtype.kind not in "biufO":
            raise Error(f"{name} holds {array.dtype}; wanted numbers")
        try:
            array = array.astype(numpy.float32 if array.dtype == numpy.float16 else numpy.float64)
        except (TypeError, ValueError) as error:
            raise Error(f"{name} holds what is no number: {error}") from error
    return array


def _masked(values: Any) -> int:
    """How many values a mask of numpy, or those of a list's members, leaves out: as an array they would count."""
    from numpy import ma

    if isinstance(values, (list, tuple)):
        return sum(_masked(value) for value in values if isinstance(value, (ma.MaskedArray, list, tuple)))
    return int(ma.count_masked(values)) if isinstance(values, ma.MaskedArray) else 0


def _words(values: Any, name: str) -> List[str]:
    """Values as text, each of which fits a line."""
    words = [str(value) for value in values.tolist()]
    for row, word in enumerate(words):
        if not word.strip() or "\n" in word or "\r" in word:
            raise Error(f"{name}[{row}] is {word!r}; wanted a word that is not empty and has no line break")
        try:
            word.encode()
        except UnicodeEncodeError as error:  # os.fsdecode makes such of names that are not UTF-8
            raise Error(f"{name}[{row}] is {word!r}, with a lone surrogate; wanted text that UTF-8 can write") from error
    return words


def _counts(values: Any, name: str) -> List[int]:
    """One whole number from 1, or several."""
    given = values if hasattr(values, "__iter__") and not isinstance(values, (str, bytes)) else [values]
    try:
        counts = [operator.index(value) for value in given]
    except TypeError:
        counts = []
    if not counts or min(counts) < 1:
        raise Error(f"{name}={values!r}; wanted whole numbers from 1")
    return counts


def _save(path: Path, array: Any) -> None:
    import numpy

    numpy.save(path, numpy.ascontiguousarray(array), allow_pickle=False)
