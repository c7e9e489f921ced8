"""`pdloss.recall` and `pdloss.verify` over the programs on the path, against plain loops."""
import unittest
import warnings

import numpy as np

import pdloss


def plain_recall(embeddings, labels, k, queries=None, gallery=None):
    """Recall@K by cosine similarity, one query after the other."""
    rows = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    everything = range(len(rows))
    found = []
    for query in everything if queries is None else queries:
        others = [row for row in (everything if gallery is None else gallery) if row != query]
        if not any(labels[row] == labels[query] for row in others):
            continue
        nearest = sorted(others, key=lambda row: -float(rows[row] @ rows[query]))[:k]
        found.append(any(labels[row] == labels[query] for row in nearest))
    return sum(found) / len(found)


class Recall(unittest.TestCase):
    def setUp(self):
        random = np.random.default_rng(3)
        self.labels = np.repeat(np.arange(6), 5)
        self.embeddings = random.normal(size=(30, 8)) + 2 * random.normal(size=(6, 8))[self.labels]

    def test_is_that_of_plain_loops(self):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # float64 is rounded, and that is said
            result = pdloss.recall(self.embeddings, self.labels, k=(1, 3))
        for k in (1, 3):
            self.assertAlmostEqual(result[f"recall@{k}"], plain_recall(self.embeddings, self.labels, k))
        self.assertEqual((result["queries"], result["classes"]), (30, 6))
        self.assertNotIn("recall@8", result)

    def test_labels_are_numbers_or_text_and_roles_part_the_rows(self):
        named = [f"class {label}, of six" for label in self.labels]
        roles = ["query" if row % 5 == 0 else "gallery" for row in range(30)]
        embeddings = self.embeddings.astype(np.float32)
        result = pdloss.recall(embeddings, named, k=[1], roles=roles, metric="cosine", threads=1)
        queries = [row for row in range(30) if row % 5 == 0]
        gallery = [row for row in range(30) if row % 5]
        self.assertEqual(result["queries"], 6)
        self.assertAlmostEqual(result["recall@1"], plain_recall(embeddings, named, 1, queries, gallery))

    def test_labels_that_differ_by_a_blank_or_hold_marks_are_as_they_are(self):
        embeddings = self.embeddings.astype(np.float32)
        for odd in (" ", "\u00a0", "\t", "\u3000"):
            for ends in (lambda label: label + odd, lambda label: odd + label):
                labels = [ends(f"c{label}") if row % 2 else f"c{label}" for row, label in enumerate(self.labels)]
                with self.assertWarnsRegex(UserWarning, "nearly the same"):
                    result = pdloss.recall(embeddings, labels, k=1)
                self.assertEqual(result["classes"], 12)
                self.assertAlmostEqual(result["recall@1"], plain_recall(embeddings, labels, 1))
        for mark in (";", "\t", ",", '"', "#", "'", "|", "\\", "\u2028", "\v", " "):
            labels = [f"{mark}tool{mark}hammer{mark}{label}" for label in self.labels]
            result = pdloss.recall(embeddings, labels, k=1)
            self.assertEqual(result["classes"], 6, repr(mark))
            self.assertAlmostEqual(result["recall@1"], plain_recall(embeddings, self.labels, 1))

    def test_what_a_mask_leaves_out_is_not_measured(self):
        matrix = self.embeddings.astype(np.float32)
        mask = np.zeros(matrix.shape, bool)
        whole = np.ma.masked_array(matrix, mask=mask)
        self.assertEqual(pdloss.recall(whole, np.ma.masked_array(self.labels), k=1)["queries"], 30)
        mask[3] = True
        scores, genuine = np.arange(20.0), np.arange(20) % 2
        for wrong, message in [
            (lambda: pdloss.recall(np.ma.masked_array(matrix, mask=mask), self.labels), "embeddings has 8 masked values"),
            (lambda: pdloss.recall(list(np.ma.masked_array(matrix, mask=mask)), self.labels), "embeddings has 8 masked values"),
            (lambda: pdloss.recall(matrix, np.ma.masked_equal(self.labels, 2)), "labels has 5 masked values"),
            (lambda: pdloss.recall(matrix, self.labels, roles=np.ma.masked_equal(["both"] * 30, "both")), "roles has 30 masked"),
            (lambda: pdloss.verify(np.ma.masked_greater(scores, 18), genuine), "scores has 1 masked value;"),
            (lambda: pdloss.verify(scores, np.ma.masked_equal(genuine, 1)), "genuine has 10 masked values"),
        ]:
            with self.assertRaisesRegex(pdloss.Error, message):
                wrong()

    def test_what_no_array_or_text_can_be_made_of_is_an_error_of_ours(self):
        class Sparse:
            def toarray(self):
                raise AssertionError

        class Tensor:
            """As torch's sparse ones answer."""

            dtype = np.dtype(np.float32)

            def detach(self):
                return self

            def cpu(self):
                return self

            def numpy(self):
                raise TypeError("can't convert Sparse layout tensor to numpy")

        for wrong, message in [
            (lambda: pdloss.recall(Sparse(), self.labels), "embeddings is sparse; wanted an array of all values"),
            (lambda: pdloss.recall(Tensor(), self.labels), "embeddings is no array: can't convert Sparse"),
            (lambda: pdloss.verify(Tensor(), [0, 1]), "scores is no array: can't convert Sparse"),
            (lambda: pdloss.recall(self.embeddings, ["a\udc80", "b"] * 15), r"labels\[0\] is 'a\\udc80', with a lone surrogate"),
            (lambda: pdloss.recall(self.embeddings, self.labels, roles=["\udc80"] * 30), r"roles\[0\]"),
        ]:
            with self.assertRaisesRegex(pdloss.Error, message):
                wrong()

    def test_what_is_assumed_is_a_warning(self):
        with self.assertWarnsRegex(UserWarning, "rounded to float32"):
            pdloss.recall(self.embeddings, self.labels)

    def test_what_does_not_fit_is_an_error_that_says_so(self):
        matrix = self.embeddings.astype(np.float32)
        for wrong, message in [
            (lambda: pdloss.recall(matrix, self.labels[:-1]), "29 labels for 30 rows"),
            (lambda: pdloss.recall(matrix[0], self.labels), "wanted 2 axes"),
            (lambda: pdloss.recall(matrix, self.labels, k=0), "k=0"),
            (lambda: pdloss.recall(matrix * np.nan, self.labels), "(?i)nan"),
            (lambda: pdloss.recall(matrix, self.labels, index="IVF"), "IVF"),
            (lambda: pdloss.recall(matrix, self.labels, k=1.5), "k=1.5; wanted whole numbers"),
            (lambda: pdloss.recall(matrix, self.labels, k=30), "k=30: each query has only 29 other"),
            (lambda: pdloss.recall(matrix, self.labels, threads=0), "threads=0"),
            (lambda: pdloss.recall(matrix, self.labels, metric="cos"), "metric='cos'; wanted \"cosine\""),
            (lambda: pdloss.recall(matrix * 0, self.labels), "metric=\"l2\" compares it"),
            (lambda: pdloss.recall(matrix, self.labels * 0), "holds 1 class"),
            (lambda: pdloss.recall(matrix, range(30)), "do labels name classes"),
            (lambda: pdloss.recall(matrix, [""] * 30), r"labels\[0\] is ''"),
            (lambda: pdloss.recall(matrix, self.labels, roles=["query"] * 30), "some of both in roles"),
            (lambda: pdloss.recall(matrix, self.labels, roles=["probe"] * 30), r"roles\[0\] is 'probe'"),
            (lambda: pdloss.recall([["a"]], ["a"]), "wanted numbers"),
            (lambda: pdloss.recall(matrix[:0], []), "nothing to measure"),
        ]:
            with self.assertRaisesRegex(pdloss.Error, message) as raised:
                wrong()
            # in the words of Python, once
            self.assertNotRegex(str(raised.exception), "error:|--[a-z]|[.]npy|[.]csv|rounded")

    def test_one_k_may_be_any_whole_number(self):
        embeddings = self.embeddings.astype(np.float32)
        self.assertEqual(pdloss.recall(embeddings, self.labels, k=np.int64(3))["recall@3"], pdloss.recall(embeddings, self.labels, k=3)["recall@3"])

    def test_float64_that_loses_nothing_is_no_warning(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pdloss.recall(self.embeddings.astype(np.float32).astype(float), self.labels)


class Verify(unittest.TestCase):
    def test_separated_and_mixed_scores(self):
        genuine = np.array([True] * 4 + [False] * 4)
        scores = [0.9, 0.8, 0.7, 0.85, 0.1, 0.2, 0.3, 0.15]
        result = pdloss.verify(scores, genuine)
        self.assertEqual((result["eer"], result["genuine_pairs"], result["impostor_pairs"]), (0.0, 4, 4))
        # as distances they are the wrong way round: that is said
        with self.assertWarns(UserWarning):
            self.assertEqual(pdloss.verify(scores, genuine, distance=True)["eer"], 1.0)

    def test_d_prime_is_its_formula(self):
        random = np.random.default_rng(5)
        scores, genuine = random.normal(size=200), random.integers(0, 2, 200)
        scores = scores + genuine
        a, b = scores[genuine == 1], scores[genuine == 0]
        wanted = (a.mean() - b.mean()) / np.sqrt((a.var() + b.var()) / 2)
        self.assertAlmostEqual(pdloss.verify(scores, genuine)["d_prime"], wanted, places=9)

    def test_what_does_not_fit_is_an_error_that_says_so(self):
        for wrong, message in [
            (lambda: pdloss.verify([0.1, 0.2], [1, 1]), "(?i)impostor"),
            (lambda: pdloss.verify([0.1, 0.2], [1, 2]), r"genuine\[1\] is 2; wanted true"),
            (lambda: pdloss.verify([0.1], [1, 0]), "2 values of genuine for 1 scores"),
            (lambda: pdloss.verify([float("nan"), 0.2], [1, 0]), r"scores\[0\] is NaN"),
        ]:
            with self.assertRaisesRegex(pdloss.Error, message) as raised:
                wrong()
            self.assertNotRegex(str(raised.exception), "error:|--[a-z]|[.]npy")


if __name__ == "__main__":
    unittest.main()
