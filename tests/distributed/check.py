"""Runs the programs on several ranks and on one, and compares what they leave. See run.sh."""
import csv
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
BIN, WHICH = Path(sys.argv[1]).resolve(), sys.argv[2]
LIBRARY = BIN / "libpdloss_ort.so"
FIXTURES = ROOT / "fixtures"
SHAPES = FIXTURES / "shapes"
LOSSES = ["pd", "d-loss", "softmax", "proxy-nca", "proxy-anchor", "multi-similarity", "curricularface", "soft-triple", "triplet"]
# Columns that are of this run's clock or place.
TIMES = {"seconds_load", "seconds_embed", "seconds_search", "seconds_compare", "seconds_total", "images_per_second", "written", "threads"}
work = Path(tempfile.mkdtemp(prefix="distributed-"))
skipped = []


def mpirun(ranks, *more):
    return ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", *more, "-n", str(ranks)]


def run(words, wanted=0, **more):
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=600, **more)
    if (done.returncode == 0) != (wanted == 0):
        sys.exit(f"{' '.join(map(str, words))}\nended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def check(holds, words):
    if not holds:
        sys.exit(f"distributed: {words}")


def train(out, ranks=1, more=(), wanted=0, batch=21, **kwargs):
    words = [BIN / "pdloss", "train", "--model", FIXTURES / "backbone.onnx", "--data", SHAPES, "--out", out, "--threads", "1"]
    words += ["--batch", batch, "--flip", *more] + ([] if "--steps" in more else ["--steps", "12"])
    return run((mpirun(ranks) if ranks > 1 else []) + words, wanted, **kwargs)


def metrics(folder):
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


def same_files(one, other, names):
    for name in names:
        check((one / name).read_bytes() == (other / name).read_bytes(), f"{one / name} and {other / name} differ")


def versions():
    text = run([BIN / "pdloss", "--version"]).stdout
    check("with MPI: Open MPI" in text, f"--version says {text}")
    # An error that all ranks have is said once, with its code.
    done = subprocess.run([*mpirun(2), str(BIN / "pdloss"), "train", "--model", "nowhere.onnx", "--data", str(SHAPES), "--out", str(work / "no")], capture_output=True, text=True)
    check(done.returncode == 1 and done.stderr.count("error:") == 1, f"two ranks without a model: {done.returncode} {done.stderr}")
    done = subprocess.run([*mpirun(2), str(BIN / "pdloss-eval"), "tabulate", "x.json"], capture_output=True, text=True)
    check(done.returncode == 2 and "tabulate runs as one process" in done.stderr, f"tabulate: {done.stderr}")


def operators(ranks):
    for count in [1, *ranks]:
        print(run([*mpirun(count), sys.executable, HERE / "operators.py", LIBRARY]).stdout, end="")


def gradients(ranks, losses):
    run([sys.executable, HERE / "steps.py", "smooth", FIXTURES / "backbone.onnx", work / "smooth.onnx"])
    for loss in losses:
        one, many, states = (work / f"{loss}.{name}" for name in ("one.onnx", "many.onnx", "npz"))
        words = [BIN / "pdloss", "export", work / "smooth.onnx"]
        common = ["--train", "--classes", "7", "--loss", loss, "--optimizer", "sgd", "--seed", "3"]
        run([*words, one, *common])
        run([*words, many, *common, "--ranks", "--sync-statistics"])
        run([sys.executable, HERE / "steps.py", "record", LIBRARY, one, states])
        for count in ranks:
            said = [run([*mpirun(count), sys.executable, HERE / "steps.py", "compare", LIBRARY, many, states, work / f"bits{again}"]).stdout for again in range(2)]
            same_files(work, work, [])
            check((work / "bits0").read_bytes() == (work / "bits1").read_bytes(), f"{loss}: {count} ranks give other bits the second time")
            print(said[0], end="")


def sharded(ranks):
    """Classes over ranks: gradients of proxies, too; and a checkpoint of some ranks goes on with others."""
    one, states = work / "pd.one.onnx", work / "pd.npz"
    for count in ranks:
        words = [BIN / "pdloss", "export", work / "smooth.onnx"]
        for rank in range(count):
            run([*words, work / f"shard{rank}.onnx", "--train", "--classes", "7", "--optimizer", "sgd", "--seed", "3", "--ranks", "--sync-statistics", "--shard", f"{rank}/{count}"])
        said = run([*mpirun(count), sys.executable, HERE / "steps.py", "compare", LIBRARY, work / "shard{rank}.onnx", states]).stdout
        print(f"classes over ranks: {said}", end="")
    more = ["--sync-statistics", "--shard-classes", "--checkpoint-every", "6"]
    train(work / "shards1", more=more)
    for count in ranks:
        train(work / f"shards{count}", count, more)
        one, many = metrics(work / "shards1"), metrics(work / f"shards{count}")
        apart = max(abs(float(a["loss"]) - float(b["loss"])) for a, b in zip(one, many, strict=True))
        check(apart < 1e-3, f"losses of {count} ranks with a part of the classes are {apart} off")
        sizes = [(work / f"shards{n}" / "checkpoint.safetensors").stat().st_size for n in (1, count)]
        check(abs(sizes[0] - sizes[1]) < 100, f"checkpoints of {sizes} bytes")
    train(work / "means", ranks[0], [*more, "--first-proxies", "class-means"])
    done = train(work / "softmax", 2, ["--loss", "softmax", "--shard-classes"], wanted=2)
    check("--shard-classes" in done.stderr, done.stderr)
    print(f"train --shard-classes: {', '.join(map(str, ranks))} ranks as one process")


def training(ranks):
    synced = ["--sync-statistics", "--validation-classes", "9-12", "--validate-every", "6", "--checkpoint-every", "5"]
    train(work / "one", more=synced)
    for count in ranks:
        folder = work / f"train{count}"
        done = train(folder, count, synced)
        check(f"spread over {count} ranks" in done.stderr and done.stderr.count("trains on") == 1, done.stderr)
        one, many = metrics(work / "one"), metrics(folder)
        apart = max(abs(float(a["loss"]) - float(b["loss"])) for a, b in zip(one, many, strict=True))
        check(apart < 1e-3, f"losses of {count} ranks are {apart} off those of one process")
        print(f"train: losses of 12 steps on {count} ranks within {apart:.1e} of one process")
        train(work / "again", count, synced)
        same_files(folder, work / "again", ["checkpoint.safetensors", "embedder.onnx", "validation.csv"])
        shutil.rmtree(work / "again")
        # From a checkpoint made by so many on with another number.
    done = train(work / "own", 2)
    check("normalises by the 10 images of a rank" in done.stderr, done.stderr)
    done = train(work / "few", 4, batch=3, wanted=2)
    check("wanted at least an image for each of 4 ranks" in done.stderr and not (work / "few").exists(), done.stderr)


def killed():
    """A rank is killed while it trains: all end, and the run goes on with the bits of one that was not killed."""
    more = ["--steps", "60", "--checkpoint-every", "5"]
    train(work / "whole", 2, more)
    for rank in range(2):
        out = work / f"killed{rank}"
        words = [*mpirun(2), BIN / "pdloss", "train", "--model", FIXTURES / "backbone.onnx", "--data", SHAPES, "--out", out]
        words += ["--threads", "1", "--batch", "21", "--flip", *more]
        process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (out / "checkpoint.safetensors").exists():
            check(process.poll() is None, "the run to be killed ended by itself")
            time.sleep(0.01)
        pid = next(p for p in children(process.pid) if environment(p).get("OMPI_COMM_WORLD_RANK") == str(rank))
        os.kill(pid, signal.SIGKILL)
        began = time.monotonic()
        code = process.wait(timeout=30)
        check(code != 0, "a run with a killed rank ended well")
        seconds = time.monotonic() - began
        run([*mpirun(2), BIN / "pdloss", "train", "--resume", out])
        same_files(work / "whole", out, ["checkpoint.safetensors", "embedder.onnx"])
        print(f"train: rank {rank} killed, ended after {seconds:.1f} s, resumed with the same bits")


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout
    return [int(word) for word in found.split()]


def environment(pid):
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return {}
    return dict(entry.decode(errors="replace").split("=", 1) for entry in entries if b"=" in entry)


def unreadable():
    """An image that only some rank reads is bad: all ends, with that rank's name and the file's."""
    data = work / "bad"
    shutil.copytree(SHAPES / "images", data)
    images = sorted(data.rglob("*.jpg"))
    images[-1].write_bytes(b"nothing")
    words = [*mpirun(2), BIN / "pdloss", "train", "--model", FIXTURES / "backbone.onnx", "--data", data, "--out", work / "unread", "--threads", "1"]
    done = run(words, wanted=1)
    check("error: rank 1 on" in done.stderr and images[-1].name in done.stderr and "--skip-bad" in done.stderr, done.stderr)
    check(not (work / "unread").exists(), "a run that never began left its folder")
    one = run([*words[len(mpirun(2)):-1], "1", "--skip-bad", "--steps", "2", "--batch", "16"])
    shutil.rmtree(work / "unread")
    two = run([*words, "--skip-bad", "--steps", "2", "--batch", "16"])
    skips = lambda done: [line for line in done.stderr.splitlines() if line.startswith("skipped")]
    check(skips(one) == skips(two) != [], f"{skips(one)} {skips(two)}")


def rows_of(path):
    with open(path) as file:
        row = next(csv.DictReader(file))
    return {name: value for name, value in row.items() if name not in TIMES}


def measuring(ranks):
    searches = [
        (["recall", "--model", FIXTURES / "embedder.onnx", "--data", SHAPES], "recall"),
        (["recall", "--model", FIXTURES / "backbone.onnx", "--data", SHAPES, "--metric", "l2", "--k", "1,5", "--batch", "7"], "l2"),
        (["verify", "--model", FIXTURES / "embedder.onnx", "--data", SHAPES, "--all-pairs", "--bootstrap", "50"], "verify"),
    ]
    for words, name in searches:
        made = {}
        for count in [1, *ranks]:
            out = work / f"{name}{count}"
            out.mkdir()
            more = ["--out", out / "result.csv", "--save-run", out / "run", "--save-embeddings", out / "kept.npy", "--threads", "1"]
            made[count] = out, run((mpirun(count) if count > 1 else []) + [BIN / "pdloss-eval", *words, *more]).stdout
        one, table = made[1]
        for count in ranks:
            many, said = made[count]
            check(said == table, f"{name}: {count} ranks print\n{said}\nwanted\n{table}")
            check(rows_of(one / "result.csv") == rows_of(many / "result.csv"), f"{name}: {count} ranks: results differ")
            same_files(one, many, ["kept.npy", "kept.csv"])
            kept = sorted(p.relative_to(one) for p in (one / "run").rglob("*") if p.is_file())
            check(kept == sorted(p.relative_to(many) for p in (many / "run").rglob("*") if p.is_file()), "other files in the run")
            # The row of the run has times in it.
            same_files(one, many, [p for p in kept if p.suffix in (".parquet", ".npy", ".bin")])
        print(f"{name}: the same on {', '.join(map(str, ranks))} ranks as in one process")


def namespaces():
    """Two ranks in two network namespaces, on a real link; then the link is cut."""
    names, made = ["pdloss-a", "pdloss-b"], False
    try:
        for name in names:
            subprocess.run(["ip", "netns", "add", name], check=True, capture_output=True)
        made = True
    except (OSError, subprocess.CalledProcessError) as error:
        skipped.append(f"two network namespaces: {error}")
        return
    finally:
        if not made:
            for name in names:
                subprocess.run(["ip", "netns", "del", name], capture_output=True)
    try:
        ip = lambda *words: subprocess.run(["ip", *words], check=True, capture_output=True)
        ip("link", "add", "pdloss0", "netns", names[0], "type", "veth", "peer", "name", "pdloss1", "netns", names[1])
        for at, name in enumerate(names):
            ip("-n", name, "addr", "add", f"10.77.0.{at + 1}/24", "dev", f"pdloss{at}")
            ip("-n", name, "link", "set", f"pdloss{at}", "up")
            ip("-n", name, "link", "set", "lo", "up")
        agent = work / "agent"
        agent.write_text('#!/bin/sh\nhost=$1\nshift\ncase $host in 10.77.0.1) name=pdloss-a;; *) name=pdloss-b;; esac\nexec ip netns exec $name sh -c "$*"\n')
        agent.chmod(0o755)
        link = ["--host", "10.77.0.1:1,10.77.0.2:1", "--mca", "plm_rsh_agent", agent, "--mca", "btl", "tcp,self"]
        # How soon the launcher itself notices that a machine is gone.
        link += ["--mca", "oob_tcp_keepalive_time", "5", "--mca", "oob_tcp_keepalive_intvl", "2", "--mca", "oob_tcp_keepalive_probes", "3"]
        link += ["--mca", "btl_tcp_if_include", "10.77.0.0/24", "--mca", "oob_tcp_if_include", "10.77.0.0/24"]
        start = ["ip", "netns", "exec", names[0], "mpirun", "--allow-run-as-root", *link, "-n", "2"]
        words = [BIN / "pdloss", "train", "--model", FIXTURES / "backbone.onnx", "--data", SHAPES, "--threads", "1", "--batch", "21", "--flip"]
        run([*start, *words, "--steps", "12", "--out", work / "linked"])
        train(work / "local", 2)
        same_files(work / "linked", work / "local", ["checkpoint.safetensors"])
        print("namespaces: two hosts train as two processes of one do, to the bit")
        out = work / "cut"
        process = subprocess.Popen([str(w) for w in [*start, "-x", "PDLOSS_RANKS_TIMEOUT=15", *words, "--steps", "100000", "--checkpoint-every", "5", "--out", out]], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not (out / "checkpoint.safetensors").exists():
            check(process.poll() is None, "the run over the link ended by itself")
            time.sleep(0.05)
        ip("-n", names[0], "link", "set", "pdloss0", "down")
        began = time.monotonic()
        try:
            error = process.communicate(timeout=90)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            sys.exit("distributed: the link was cut, and the run did not end")
        check(process.returncode != 0, "a run whose link was cut ended well")
        seconds = time.monotonic() - began
        first = next((line for line in error.splitlines() if line.startswith("error:")), error[-300:])
        print(f"namespaces: the link cut, ended after {seconds:.0f} s: {first}")
    finally:
        for name in names:
            for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def main():
    everything = WHICH == "all"
    versions()
    operators([2, 3] if everything else [2])
    gradients([2, 3, 4] if everything else [2], LOSSES)
    sharded([2, 3, 4] if everything else [2])
    training([2, 3, 4] if everything else [2])
    measuring([2, 3] if everything else [2])
    unreadable()
    if everything:
        killed()
        namespaces()
    shutil.rmtree(work)
    for what in skipped:
        print(f"distributed: SKIPPED {what}")
    print("distributed: all held")


main()
