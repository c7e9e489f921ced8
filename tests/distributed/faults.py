"""What goes wrong on one rank of several: killed, cut off, out of disk, unreadable images, other programs or data on another rank."""
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy
import onnx

from tools import BIN, FIXTURES, SHAPES, check, losses_apart, mpirun, process_of, run, same_files, skipped, train, training, work


def each_rank(name, words):
    """A script in place of a rank's program, which may do something first: `case $rank in ...`."""
    path = work / name
    path.write_text(f"#!/bin/bash\nrank=$OMPI_COMM_WORLD_RANK\n{words}\n")
    path.chmod(0o755)
    return path


def killed():
    """A rank is killed while it trains: all end, and the run goes on with the bits of one that was not killed."""
    more = ["--steps", "60", "--checkpoint-every", "5"]
    train(work / "whole", 2, more)
    for rank in range(2):
        out = work / f"killed{rank}"
        words = [str(word) for word in mpirun(2) + training(out, more)]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (out / "checkpoint.safetensors").exists():
            check(process.poll() is None, "the run to be killed ended by itself")
            time.sleep(0.01)
        seconds = kill(process, rank)
        run([*mpirun(2), BIN / "pdloss", "train", "--resume", out])
        same_files(work / "whole", out, ["checkpoint.safetensors", "embedder.onnx"])
        print(f"train: rank {rank} killed, ended after {seconds:.1f} s, resumed with the same bits")


def stopped():
    """A rank no longer answers, though its process is there: the others end after the time that they wait."""
    out = work / "stopped"
    words = [*mpirun(2, "-x", "PDLOSS_RANKS_TIMEOUT=5"), *training(out, ["--steps", "100000", "--checkpoint-every", "5"])]
    process = subprocess.Popen([str(word) for word in words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (out / "checkpoint.safetensors").exists():
        check(process.poll() is None, "the run to be stopped ended by itself")
        time.sleep(0.01)
    os.kill(process_of(process, 1), signal.SIGSTOP)
    began = time.monotonic()
    said = process.communicate(timeout=60)[1]
    check(process.returncode == 1 and "error: rank 0 on" in said and "another rank has not answered for 5 s" in said, said)
    print(f"train: rank 1 stopped, all ended after {time.monotonic() - began:.1f} s with a limit of 5 s")


def kill(process, rank):
    os.kill(process_of(process, rank), signal.SIGKILL)
    began = time.monotonic()
    code = process.wait(timeout=30)
    check(code != 0, "a run with a killed rank ended well")
    return time.monotonic() - began


def changed(ranks):
    """A checkpoint that some ranks made goes on with another number of them, and ends where one process does."""
    common = ["--sync-statistics", "--steps", "40", "--checkpoint-every", "10"]
    one = work / "unchanged"
    train(one, more=common)
    for extra in ([], ["--shard-classes"]):
        for first, then in ((1, ranks[-1]), (ranks[0], 1), (ranks[-1], ranks[0])):
            out = work / f"from{first}to{then}{''.join(extra)}"
            words = [str(word) for word in mpirun(first) + training(out, [*common, *extra])]
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while not (out / "checkpoint.safetensors").exists():
                check(process.poll() is None, "the run to be stopped ended by itself")
                time.sleep(0.01)
            os.kill(process.pid if first == 1 else process_of(process, first - 1), signal.SIGKILL)
            process.wait(timeout=30)
            done = run([*mpirun(then), BIN / "pdloss", "train", "--resume", out])
            check(f"ranks was {first}" in done.stderr or 1 in (first, then), done.stderr)
            apart = losses_apart(one, out)
            check(apart < 1e-3, f"{first} ranks, then {then}: losses {apart} off those of one process")
    print(f"train --resume: runs of 1, {ranks[0]} and {ranks[-1]} ranks go on with other numbers, and end as one process does")


def killed_in_search():
    """A rank is killed while it searches: all end, and no result is there."""
    kept, random = work / "search.npy", numpy.random.default_rng(1)
    numpy.save(kept, random.standard_normal((60_000, 32)).astype(numpy.float32))
    (work / "search.csv").write_text("label\n" + "".join(f"{at % 5000}\n" for at in range(60_000)))
    for rank in range(2):
        out = work / f"found{rank}.csv"
        words = [*mpirun(2), BIN / "pdloss-eval", "recall", "--embeddings", kept, "--out", out, "--threads", "1"]
        words = [str(word) for word in words]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while True:
            # Reading takes less, searching more.
            check(process.poll() is None, "the search to be killed ended by itself")
            try:
                if cpu_seconds(process_of(process, rank)) > 3.0:
                    break
            except (StopIteration, OSError):
                pass
            time.sleep(0.01)
        seconds = kill(process, rank)
        check(not out.exists(), "a search with a killed rank left a result")
        print(f"recall: rank {rank} killed, ended after {seconds:.1f} s without a result")


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def full_disk():
    """One rank can write no file of more than some bytes from the first checkpoint on: the first one its checkpoint, the other the model that
    it is to validate. All end, nothing half written is left, and the run goes on once there is room."""
    more = ["--steps", "60", "--checkpoint-every", "5", "--validation-classes", "9-12", "--validate-every", "6"]
    train(work / "room", 2, more)
    # Else the signal of a limit would kill the rank, where a full disk gives an error.
    heedless = each_rank("heedless", 'trap "" XFSZ\nexec "$@"')
    for rank in range(2):
        out = work / f"full{rank}"
        words = [str(word) for word in [*mpirun(2), heedless, *training(out, more)]]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while not (out / "checkpoint.safetensors").exists():
            check(process.poll() is None, "the run whose disk is to be full ended by itself")
            time.sleep(0.01)
        resource.prlimit(process_of(process, rank), resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
        began = time.monotonic()
        said = process.communicate(timeout=60)[1]
        errors = [line for line in said.splitlines() if line.startswith("error:")]
        check(process.returncode == 1 and len(errors) == 1, f"{process.returncode} {said}")
        check(f"error: rank {rank} on" in errors[0] and "too large" in errors[0], said)
        seconds = time.monotonic() - began
        left = [path.name for path in out.rglob(".pdloss-*.tmp")]
        check(left == [], f"left behind: {left}")
        run([*mpirun(2), BIN / "pdloss", "train", "--resume", out])
        same_files(work / "room", out, ["checkpoint.safetensors", "embedder.onnx", "validation.csv"])
        print(f"train: the disk of rank {rank} full, all ended after {seconds:.1f} s, resumed with the same bits")


def unreadable():
    """An image that only some rank reads is bad: all ends, with that rank's name and the file's."""
    data = work / "bad"
    shutil.copytree(SHAPES / "images", data)
    images = sorted(data.rglob("*.jpg"))
    images[-1].write_bytes(b"nothing")
    words = [BIN / "pdloss", "train", "--model", FIXTURES / "backbone.onnx", "--data", data, "--out", work / "unread", "--threads", "1"]
    done = run(mpirun(2) + words, wanted=1)
    check("error: rank 1 on" in done.stderr and images[-1].name in done.stderr and "--skip-bad" in done.stderr, done.stderr)
    check(not (work / "unread").exists(), "a run that never began left its folder")
    words += ["--skip-bad", "--steps", "2", "--batch", "16"]
    one = run(words)
    shutil.rmtree(work / "unread")
    two = run(mpirun(2) + words)
    skips = lambda done: [line for line in done.stderr.splitlines() if line.startswith("skipped")]
    check(skips(one) == skips(two) != [], f"{skips(one)} {skips(two)}")
    print("train: an image that only rank 1 reads is bad, and all end with its name")


def different():
    """Ranks that are not the same run: other programs, flags, data, models, settings; found at the start, on whichever rank."""

    def refused(words, code, *said):
        done = run([*mpirun(2), *words], wanted=code)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        check(len(errors) == 1 and all(word in errors[0] for word in said), f"wanted {said}: {done.stderr}")

    here = {name: shutil.copytree(SHAPES, work / f"data-{name}") for name in ("label", "list", "bytes", "same")}
    labels = here["label"] / "image_class_labels.txt"
    labels.write_text(labels.read_text().replace("\n2 1\n", "\n2 2\n", 1))
    for listed in here["list"].glob("i*.txt"):
        listed.write_text("\n".join(listed.read_text().splitlines()[1:]) + "\n")
    split = here["list"] / "train_test_split.txt"
    split.write_text("\n".join(split.read_text().splitlines()[1:]) + "\n")
    # Of 160 images every rank reads each fifth at the start; the others are read by one, and by who draws them.
    images = sorted((here["bytes"] / "images").rglob("*.jpg"))[:160]
    original = lambda image: SHAPES / image.relative_to(here["bytes"])
    model = work / "model"
    model.mkdir()
    shutil.copy(FIXTURES / "backbone.toml", model)
    net = onnx.load(FIXTURES / "backbone.onnx")
    weights = next(tensor for tensor in net.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT)
    values = onnx.numpy_helper.to_array(weights).copy()
    values.flat[0] += numpy.float32(0.25)
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    onnx.save(net, model / "backbone.onnx")
    program = work / "pdloss"
    shutil.copy(BIN / "pdloss", program)
    with open(program, "ab") as file:
        file.write(b"another build")

    out = work / "different"
    one = [str(word) for word in training(out)]
    second = lambda old, new: each_rank("second", f'if [ $rank = 1 ]; then for word; do shift; set -- "$@" "${{word/{old}/{new}}}"; done; fi\nexec "$@"')
    escape = lambda path: str(path).replace("/", "\\/")
    refused([second(escape(BIN / "pdloss"), escape(program)), *one], 1, "started differently", "SHA-256")
    refused([second("--batch", "--per-class"), *one], 2, "started differently")
    refused([second(escape(out), escape(out) + "-1"), *one], 2, "started differently", "different-1", "--out")
    refused([second("--flip", "--flop"), *one], 2, "started differently", "--flop")
    refused([second(escape(SHAPES), escape(here["list"])), *one], 1, "list of images")
    refused([second(escape(SHAPES), escape(here["label"])), *one], 1, "differ")
    refused([second(escape(FIXTURES / "backbone.onnx"), escape(model / "backbone.onnx")), *one], 1, "differ")
    check(not out.exists() and not (work / "different-1").exists(), "ranks that differ left a folder")
    # The same data elsewhere, and another folder to work in, are the same run.
    elsewhere = second(escape(SHAPES), escape(here["same"])).read_text().replace("exec", "cd /tmp/$( [ $rank = 1 ] && echo . )\nexec")
    (work / "second").write_text(elsewhere)
    train(work / "own", 2)
    run([*mpirun(2), work / "second", *training(work / "elsewhere")])
    same_files(work / "own", work / "elsewhere", ["checkpoint.safetensors"])
    shutil.copy(original(images[1]), images[0])
    refused([second(escape(SHAPES), escape(here["bytes"])), *one], 1, "the images' files differs")
    shutil.copy(original(images[0]), images[0])
    for at in range(80):
        if at % 5:
            shutil.copy(original(images[at - 1]), images[at])
    refused([second(escape(SHAPES), escape(here["bytes"])), *one], 1, "another file on another rank")
    shutil.rmtree(out, ignore_errors=True)
    recall = [BIN / "pdloss-eval", "recall", "--model", FIXTURES / "embedder.onnx", "--data", SHAPES, "--split", "all"]
    refused([second("recall", "verify"), *recall], 2, "started differently")
    refused([second(escape(SHAPES), escape(here["label"])), *recall], 1, "differ")
    print("ranks that differ: program, command, flags, list, labels, model are refused; other places of the same data are not")


def launched_wrongly():
    """A time limit that is none; and a program that the launcher's MPI does not join."""
    done = run([*mpirun(2, "-x", "PDLOSS_RANKS_TIMEOUT=2h"), *training(work / "limit")], wanted=1)
    check("PDLOSS_RANKS_TIMEOUT is '2h'" in done.stderr and not (work / "limit").exists(), done.stderr)
    apart = run(training(work / "apart"), wanted=1, env={**os.environ, "PMI_SIZE": "2"})
    check("finds itself alone" in apart.stderr and not (work / "apart").exists(), apart.stderr)
    print("launched wrongly: said, and nothing made")


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
        start, ip = linked(names)
        more = ["--steps", "12"]
        sent = bytes_sent(names[0])
        run([*start, *training(work / "linked", more)])
        train(work / "local", 2, more)
        same_files(work / "linked", work / "local", ["checkpoint.safetensors"])
        print("namespaces: two hosts train as two processes of one do, to the bit")
        # Twice the steps send what those of the difference do.
        once = bytes_sent(names[0]) - sent
        done = run([*start, *training(work / "linked2", ["--steps", "112"])])
        twice = bytes_sent(names[0]) - sent - once
        given = next(line for line in done.stderr.splitlines() if line.startswith("each step gave"))
        print(f"namespaces: {(twice - once) / 100:,.0f} bytes a step leave a host, counted by its link; {given}")
        out = work / "cut"
        words = [*start, "-x", "PDLOSS_RANKS_TIMEOUT=15", *training(out, ["--steps", "100000", "--checkpoint-every", "5"])]
        process = subprocess.Popen([str(w) for w in words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
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
        lines = error.splitlines()
        first = next((line for line in lines if line.startswith("error:") or "lost communication" in line), lines[-1] if lines else "")
        print(f"namespaces: the link cut, ended after {seconds:.0f} s: {first}")
    finally:
        for name in names:
            for pid in subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True).stdout.split():
                os.kill(int(pid), signal.SIGKILL)
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def bytes_sent(name):
    path = "/sys/class/net/pdloss0/statistics/tx_bytes"
    return int(subprocess.run(["ip", "netns", "exec", name, "cat", path], check=True, capture_output=True, text=True).stdout)


def linked(names):
    """Joins two namespaces; the words that start two ranks, one in each, and `ip`."""
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
    return ["ip", "netns", "exec", names[0], "mpirun", "--allow-run-as-root", *link, "-n", "2"], ip
