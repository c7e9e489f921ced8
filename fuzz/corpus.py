"""Writes the first files of every corpus: small and well formed, so that a fuzzer starts past the magic numbers. Files that
once killed a reader are added beside them by hand, and stay. numpy, pillow, onnx, polars and pyarrow; run from the repository's root."""
import io
import json
import pathlib
import pickle
import struct
import tarfile
import gzip
import zipfile

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

CORPUS = pathlib.Path("fuzz/corpus")


def put(target, name, content):
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def picture(kind, mode="RGB"):
    out = io.BytesIO()
    Image.new(mode, (6, 5), 90 if mode == "L" else (200, 30, 60)).save(out, kind)
    return out.getvalue()


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


files = {"a/1.png": picture("PNG"), "a/2.png": picture("PNG", "L"), "b/1.jpg": picture("JPEG"), "b/2.bmp": picture("BMP")}
tar = io.BytesIO()
with tarfile.open(fileobj=tar, mode="w") as archive:
    for name, content in files.items():
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    link = tarfile.TarInfo("b/3.jpg")
    link.type, link.linkname = tarfile.LNKTYPE, "b/1.jpg"
    archive.addfile(link)
put("archive_tar", "links", tar.getvalue())
put("archive_tgz", "one", gzip.compress(tar.getvalue(), mtime=0))
put("archive_tgz", "members", gzip.compress(tar.getvalue()[:1024], mtime=0) + gzip.compress(tar.getvalue()[1024:], mtime=0))
packed = io.BytesIO()
with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
    for name, content in files.items():
        archive.writestr(zipfile.ZipInfo(name), content)
put("archive_zip", "plain", packed.getvalue())
put("cub", "values", "1 1\n2 2\n")
put("cub", "names", "1 a/1.png\n2 b/2.png\n")
matrix = np.arange(6, dtype=np.float32).reshape(3, 2)
for name, array in [("f32", matrix), ("f64", matrix.astype(np.float64)), ("fortran", np.asfortranarray(matrix))]:
    put("embeddings_npy", name, npy(array))
    put("scores_npy", name, npy(array[:, 0]))
put("embeddings_npy", "claims", npy(matrix).replace(b"(3, 2)", b"(9999999999, 2)"))


def safetensors(header, data):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


tensors = {"embeddings": {"dtype": "F32", "shape": [3, 2], "data_offsets": [0, 24]}, "labels": {"dtype": "I64", "shape": [3], "data_offsets": [24, 48]}}
for name, labels in [("whole", [0, 0, 1]), ("negative", [-1, 0, 1]), ("huge", [0, 4 * 10**18, 1])]:
    put("embeddings_safetensors", name, safetensors(tensors, matrix.tobytes() + np.array(labels, np.int64).tobytes()))
named = {**tensors, "__metadata__": {"classes": '["a", "b"]', "names": '["1", "2", "3"]', "roles": '["both", "both", "query"]'}}
put("embeddings_safetensors", "named", safetensors(named, matrix.tobytes() + np.array([0, 0, 1], np.int64).tobytes()))


def parquet(columns, **how):
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **how)
    return out.getvalue()


rows, words = matrix.tolist(), ["x", "y", "x"]
put("embeddings_parquet", "lists", parquet({"label": words, "embedding": pa.array(rows, pa.list_(pa.float32()))}))
fixed = {"embedding": pa.array(rows, pa.list_(pa.float64(), 2)), "label": pa.array([4, 5, 4], pa.uint8()), "path": ["a", "b", "c"]}
put("embeddings_parquet", "fixed_size", parquet(fixed, compression="zstd", data_page_version="2.0", write_page_index=True))
columns = {"label": words, "e1": matrix[:, 1], "e0": matrix[:, 0], "role": ["query", "gallery", "gallery"]}
put("embeddings_parquet", "columns", parquet(columns, compression="gzip", row_group_size=2))
halves = {"label": pa.array(words).dictionary_encode(), "vector": pa.array(rows, pa.list_(pa.float16()))}
put("embeddings_parquet", "halves", parquet(halves, compression="none"))
for name, ragged in [("ragged", [[1.0], [2.0, 3.0], [4.0, 5.0]]), ("missing", [[1.0, 2.0], None, [3.0, None]])]:
    put("embeddings_parquet", name, parquet({"label": words, "embedding": pa.array(ragged, pa.list_(pa.float32()))}))
frame = io.BytesIO()
pl.DataFrame({"label": words, "embedding": pl.Series(rows, dtype=pl.Array(pl.Float32, 2))}).write_parquet(frame, compression="lz4")
put("embeddings_parquet", "polars", frame.getvalue())
for text in ["Flat", "IVF16,Flat", "HNSW0", "IDMap,Flat", "OPQ4,IVF8,PQ4x4", "PCA8,SQ8", "IVF0,Flat", "PQ0", "HNSW32,Flat"]:
    put("faiss_factory", text.replace(",", "_").lower(), text)
for kind in ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM"]:
    put("image", kind.lower(), picture(kind))
put("image", "bmp_header", b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 1 << 30, 1 << 30, 1, 24, 0, 0, 0, 0, 0, 0))
for target in ["labels", "list", "landmarks", "pairs_text", "scores_csv", "scores_text"]:
    put(target, "mark", "\ufeffpath,label\na.png,x\n")
    put(target, "utf16", "path,label\na.png,x\n".encode("utf-16"))
    put(target, "quotes", 'path;label;role\r\n"a.png";"x;y";query\r\n\r\n')
    put(target, "open", '"a.png,x\nb.png,y\n')
put("list", "blanks", "a.png 1\nb.png 2\n")
put("labels", "lines", "a\nb\na\n")
put("landmarks", "five", "path,x1,y1,x2,y2,x3,y3,x4,y4,x5,y5\nA/1.jpg,1,2,3,4,5,6,7,8,9,10\n")
put("pairs_text", "lfw", "2\t3\nAbel\t1\t2\nAbel\t1\tBo\t1\n")
put("pairs_text", "two_lines", "a.jpg 1\nb.jpg 1\nc.jpg 0\nd.jpg 0\n")
put("pairs_text", "table", "path_a,path_b,same,fold\na.jpg,b.jpg,1,0\na.jpg,c.jpg,0,1\n")
put("pairs_text", "overflow", "18446744073709551615\t18446744073709551615\nAbel\t1\t18446744073709551615\n")
put("pairs_bin", "whole", pickle.dumps(([b"one", b"two", b"three", b"four"], [True, False]), protocol=2))
judged = {"bbx": [0, 0, 5.5, 5], "easy": [0], "hard": [], "junk": [1]}
put("ground_truth", "whole", pickle.dumps({"imlist": ["a", "b"], "qimlist": ["c"], "gnd": [judged]}, protocol=2))
put("ground_truth", "text", pickle.dumps({"imlist": ["a", "b"], "qimlist": ["c"], "gnd": [judged]}, protocol=0))
put("templates", "media", "1.jpg 1 69544\n2.jpg 2 28\n3.jpg 2 28\n")
put("templates", "pairs", "1 2 1\n1 2 0\n")
put("templates", "gallery", "TEMPLATE_ID,SUBJECT_ID,FILENAME\n1,4,img/1.jpg\n2,5,img/2.jpg\n")
put("pairs_bin", "nested", b"\x80\x02" + b"K\x01" + b"\x85" * 3000 + b".")
put("recipe", "whole", 'preset = "imagenet"\nresize = "shorter:256"\ncrop = "224x224"\nscale = "1/255"\nmean = [0.5]\n')
put("recipe", "wrong", 'pad = "48x48+4294967295+0"\nstd = [0.0]\nmean = [nan]\n')
put("mat", "header", b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<HH", 0x0100, 0x4D49) + struct.pack("<II", 15, 8) + bytes(8))
rows = [{"measure": "recall", "recall@1": 0.5, "images": 10, "notes": None}, {"measure": "training", "seed": 3, "inline": True}]
put("result_json", "mixed", json.dumps(rows))
put("result_csv", "mixed", "measure,recall@1,images\nrecall,0.5,10\ntraining,,\n")
frame = io.BytesIO()
pl.DataFrame({"measure": ["recall"], "recall@1": [0.5], "images": [10]}).write_parquet(frame, compression="uncompressed")
put("result_parquet", "recall", frame.getvalue())
put("run_metrics", "whole", "step,epoch,loss,d_prime\n1,0,0.5,0.7\n2,0,0.4,\n")
put("run_metrics", "torn", "step,loss\n1,0.5\n2,0.")
put("run_settings", "whole", '[data]\npath = "x"\n[settings]\nseed = 3\ninline = true\nrotate = nan\nmean = []\n')
put("scores_csv", "column", "score,pair\n0.5,1\n0.7,2\n")
put("scores_text", "extremes", "1e308\n-1e308\n0\n")
for name in [f"fixtures/models/{name}.onnx" for name in ["external", "fixed_batch_4", "float16", "lying_shape", "nhwc", "rank_4"]]:
    path = pathlib.Path(name)
    for target in ["onnx_model", "onnx_graph"]:
        put(target, path.stem, path.read_bytes())
