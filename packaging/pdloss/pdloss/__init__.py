"""Embeddings and scores that are in memory, judged by the programs of this package.

    result = pdloss.recall(embeddings, labels, k=(1, 10))
    result["recall@1"], result["map@r"]

    result = pdloss.verify(scores, genuine)
    result["eer"], result["fnmr@fmr=0.001"]

Both want numpy. Each call runs the program `pdloss-eval` once, on files in a temporary folder: the figures are those of its command line, and what
happens to it cannot take the notebook with it. Everything else is done at the command line (`pdloss train`, `pdloss-eval recall` on
images, ...).
"""

from ._measure import Error, recall, verify

__all__ = ["Error", "recall", "verify"]
__version__ = "0.1.0"
