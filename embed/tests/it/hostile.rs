//! Small files that ask for much: refused by name, at once, before anything is allocated.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use pdloss_embed::embedder::{Choice, Device, Embedder, Model, Options};
use pdloss_embed::preprocess::{Layout, Orientation, Patch, Preprocessor, Recipe, Resize, Size, decode};
use pdloss_embed::{Error, Result};
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use crate::onnx::{N, external, floats, giving, int, ints, model, node, projection, save, value, weights};

const BOTH: [Choice; 2] = [Choice::Onnxruntime, Choice::Tract];

fn options(runtime: Choice, batch: Option<usize>) -> Options {
    Options { runtime, library: None, device: Device::Cpu, threads: 1, batch }
}

/// Runs what must not take long.
fn at_once<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    assert!(started.elapsed() < Duration::from_secs(10), "{what} took {:?}", started.elapsed());
    result
}

/// Headers of images with 60000 x 60000 pixels, and nothing behind.
fn headers() -> Vec<(&'static str, Vec<u8>)> {
    let side = 60_000_u16;
    let png = {
        let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
        let mut chunk = b"IHDR".to_vec();
        chunk.extend([u32::from(side).to_be_bytes(), u32::from(side).to_be_bytes()].concat());
        chunk.extend([8, 2, 0, 0, 0]);
        bytes.extend(13_u32.to_be_bytes());
        bytes.extend(&chunk);
        bytes.extend(crc(&chunk).to_be_bytes());
        bytes.extend([0, 0, 0, 10, b'I', b'D', b'A', b'T', 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, 0, 0, 0]);
        bytes
    };
    let gif = [b"GIF89a".as_slice(), &side.to_le_bytes(), &side.to_le_bytes(), &[0, 0, 0]].concat();
    let gif = [gif, vec![0x2c, 0, 0, 0, 0], [side.to_le_bytes(), side.to_le_bytes()].concat(), vec![0, 2, 0]].concat();
    let mut bmp = b"BM\x9a\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    bmp.extend([u32::from(side).to_le_bytes(), u32::from(side).to_le_bytes()].concat());
    bmp.extend([1, 0, 24, 0]);
    bmp.extend([0; 24]);
    let table: Vec<u8> = [vec![0xff, 0xdb, 0, 67, 0], vec![1; 64]].concat();
    let frame =
        [vec![0xff, 0xc0, 0, 11, 8], side.to_be_bytes().to_vec(), side.to_be_bytes().to_vec(), vec![1, 1, 0x11, 0]];
    let jpeg =
        [vec![0xff, 0xd8], table, frame.concat(), vec![0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0, 0xff, 0xd9]].concat();
    vec![
        ("a.png", png),
        ("a.gif", gif),
        ("a.bmp", bmp),
        ("a.jpg", jpeg),
        ("a.pbm", b"P4 60000 60000\n".to_vec()),
        ("a.pgm", b"P5 60000 60000 255\n".to_vec()),
        ("a.ppm", b"P6\n60000 60000\n65535\n".to_vec()),
    ]
}

/// The checksum of a PNG chunk.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { 0xEDB8_8320 ^ (crc >> 1) } else { crc >> 1 })
    })
}

#[test]
fn headers_that_ask_for_too_many_pixels_are_refused_with_their_number() {
    for (name, bytes) in headers() {
        let message = at_once(name, || decode(name, &bytes, Orientation::Exif)).unwrap_err().to_string();
        let says = "60000x60000, 3600000000 pixels, more than --max-pixels 178956970";
        assert!(message.contains(name) && message.contains(says), "{message}");
    }
    let larger = b"P4 1000000000 1000000000\n";
    assert!(decode("b.pbm", larger, Orientation::Exif).is_err());
}

#[test]
fn thin_images_do_not_grow_without_bound() {
    let mut png = std::io::Cursor::new(Vec::new());
    image::RgbImage::new(1, 60_000).write_to(&mut png, image::ImageFormat::Png).unwrap();
    let size = |width, height| Size { width, height };
    let through = |resize, max_pixels| {
        let recipe = Recipe { resize, max_pixels, ..Recipe::default() };
        Preprocessor::new(&recipe, Layout::Nchw).append("thin.png", png.get_ref(), &mut Vec::new())
    };
    let usual = Recipe::default().max_pixels;
    for resize in [Resize::Shorter(256), Resize::Cover(size(224, 224)), Resize::Exact(size(16_384, 1))] {
        let message = at_once("thin.png", || through(resize, usual)).unwrap_err().to_string();
        assert!(
            message.contains("thin.png: is 1x60000; resizing it to") && message.contains("--max-pixels"),
            "{message}"
        );
    }
    assert!(through(Resize::Exact(size(10, 10)), 600_000).is_ok());
    assert!(through(Resize::Exact(size(10, 10)), 59_999).unwrap_err().to_string().contains("its header says 1x60000"));
}

#[test]
fn recipes_that_ask_for_too_many_pixels_or_pad_outside_are_refused() {
    for (manifest, says) in [
        ("resize = 'exact:16384x16384'", "resize 16384x16384 makes 268435456 pixels"),
        ("crop = '16384x16384'", "crop 16384x16384"),
        ("pad = '16384x16384'", "pad 16384x16384"),
        ("max_pixels = 100\ncrop = '11x10'", "makes 110 pixels, more than max_pixels 100"),
        ("pad = '48x48+4294967295+4294967295'", "outside of its canvas"),
        ("pad = '48x48+0+48'", "outside of its canvas"),
    ] {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), manifest).unwrap();
        let message =
            Recipe::of(file.path(), Some(file.path()), &Default::default(), (None, false)).unwrap_err().to_string();
        assert!(message.contains(says), "{manifest}: {message}");
    }
    let pad = Recipe { pad: Some("48x48+4294967295+4294967295".parse().unwrap()), ..Recipe::default() };
    let png = crate::tools::png([1, 2, 3]);
    let message = Preprocessor::new(&pad, Layout::Nchw).append("a.png", &png, &mut Vec::new()).unwrap_err().to_string();
    assert!(message.contains("does not fit on a canvas"), "{message}");
}

fn open(folder: &Path, proto: &ModelProto, runtime: Choice, batch: Option<usize>) -> Result<Embedder> {
    Embedder::open(Model::read(&save(folder, "m.onnx", proto), None)?, Some([3, 8, 8]), &options(runtime, batch))
}

#[test]
fn weights_in_anything_but_a_regular_file_are_refused_before_they_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("short.bin"), [0; 100]).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("link")).unwrap();
    let cases: [(&[(&str, &str)], &str); 11] = [
        (&[("location", "/dev/zero")], "relative path"),
        (&[("location", "link")], "no regular file"),
        (&[("location", "fifo")], "no regular file"),
        (&[("location", "folder")], "no regular file"),
        (&[("location", "nowhere.bin")], "cannot be read"),
        (&[("location", "../short.bin")], "without '..'"),
        (&[("location", "")], "without '..'"),
        (&[("offset", "0")], "does not say where"),
        (&[("location", "short.bin"), ("offset", "101")], "which has 100"),
        (&[("location", "short.bin"), ("offset", "18446744073709551615"), ("length", "2")], "which has 100"),
        (&[("location", "short.bin"), ("length", "-1")], "is no number"),
    ];
    let (nodes, _) = projection("y");
    for (entries, says) in cases {
        let tensor = external(weights("w", &[192, 4]), entries);
        let as_initializer = model(&[N, 3, 8, 8], 17, nodes.clone(), vec![tensor.clone()]);
        let constant = node("Constant", &[], &["w"], vec![value(tensor.clone())]);
        let in_attribute = model(&[N, 3, 8, 8], 17, [vec![constant], nodes.clone()].concat(), vec![]);
        for proto in [as_initializer, in_attribute] {
            let read = || Model::read(&save(folder.path(), "m.onnx", &proto), None);
            let message = at_once(says, read).unwrap_err().to_string();
            assert!(message.contains("m.onnx: tensor 'w'") && message.contains(says), "{entries:?}: {message}");
        }
    }
    for place in [&fifo, &folder.path().join("folder"), Path::new("/dev/zero")] {
        let message = at_once("model", || Model::read(place, None)).unwrap_err().to_string();
        assert!(message.contains("wanted a regular file"), "{message}");
    }
}

#[test]
fn weights_behind_links_run_and_count_in_the_digest_wherever_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, own) = (folder.path().join("blobs"), folder.path().join("model"));
    std::fs::create_dir(&cache).unwrap();
    std::fs::create_dir(&own).unwrap();
    let tensor = weights("w", &[192, 4]);
    std::fs::write(cache.join("1234"), &tensor.raw_data).unwrap();
    std::os::unix::fs::symlink("../blobs/1234", own.join("w.bin")).unwrap();
    let outside = external(tensor.clone(), &[("location", "w.bin"), ("offset", "0"), ("length", "3072")]);
    let (nodes, _) = projection("y");
    let constant = node("Constant", &[], &["w"], vec![value(outside.clone())]);
    let images: Vec<f32> = (0..192).map(|v| v as f32 / 192.0).collect();
    let rows = |embedder: &mut Embedder| embedder.workers()[0].embed(images.clone(), 1, [3, 8, 8]).unwrap();
    let whole = model(&[N, 3, 8, 8], 17, nodes.clone(), vec![tensor]);
    let wanted = rows(&mut open(folder.path(), &whole, Choice::Onnxruntime, Some(1)).unwrap());
    for proto in [
        model(&[N, 3, 8, 8], 17, nodes.clone(), vec![outside]),
        model(&[N, 3, 8, 8], 17, [vec![constant], nodes.clone()].concat(), vec![]),
    ] {
        let before = Model::read(&save(&own, "m.onnx", &proto), None).unwrap();
        assert!(before.bytes > 3072);
        let on_tract = rows(&mut open(&own, &proto, Choice::Tract, Some(1)).unwrap());
        assert!(on_tract.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-4), "{on_tract} {wanted}");
        let content = std::fs::read(cache.join("1234")).unwrap();
        std::fs::write(cache.join("1234"), [vec![content[0] ^ 1], content[1..].to_vec()].concat()).unwrap();
        assert_ne!(before.sha256, Model::read(&own.join("m.onnx"), None).unwrap().sha256);
        std::fs::write(cache.join("1234"), content).unwrap();
    }
}

fn scalar(name: &str, value: i64) -> TensorProto {
    TensorProto { dims: vec![], ..ints(name, &[value]) }
}

/// Nodes that make more than any memory holds, between `x` and a projection or beside it.
fn greedy() -> Vec<(&'static str, Vec<NodeProto>, Vec<TensorProto>)> {
    let billion = 1_000_000_000;
    let beside = |made: &str| {
        vec![node("ReduceSum", &[made], &["s"], vec![int("keepdims", 0)]), node("Add", &["z", "s"], &["y"], vec![])]
    };
    let cast = || node("Cast", &["big"], &["bigf"], vec![int("to", 1)]);
    let after = |nodes: Vec<NodeProto>| [nodes, beside("big")].concat();
    let doubling = {
        let first = node("Concat", &["z", "z"], &["d1"], vec![int("axis", 1)]);
        let next = |at: usize| {
            let from = format!("d{at}");
            node("Concat", &[&from, &from], &[&format!("d{}", at + 1)], vec![int("axis", 1)])
        };
        let chain = (1..70).map(next);
        [vec![first], chain.collect(), beside("d70")].concat()
    };
    vec![
        (
            "Pad",
            after(vec![node("Pad", &["x", "pads"], &["big"], vec![])]),
            vec![ints("pads", &[0, 0, billion, billion, 0, 0, billion, billion])],
        ),
        ("Tile", after(vec![node("Tile", &["z", "n"], &["big"], vec![])]), vec![ints("n", &[billion, billion])]),
        (
            "Expand",
            after(vec![node("Expand", &["z", "to"], &["big"], vec![])]),
            vec![ints("to", &[billion, billion, 1, 4])],
        ),
        (
            "ConstantOfShape",
            after(vec![node("ConstantOfShape", &["to"], &["big"], vec![])]),
            vec![ints("to", &[4, billion])],
        ),
        (
            "Range",
            [vec![node("Range", &["a", "b", "c"], &["big"], vec![]), cast()], beside("bigf")].concat(),
            vec![scalar("a", 0), scalar("b", 1000 * billion), scalar("c", 1)],
        ),
        ("Concat", doubling, vec![]),
        (
            "Resize",
            after(vec![node("Resize", &["x", "", "", "to"], &["big"], vec![])]),
            vec![ints("to", &[1, 3, billion, billion])],
        ),
    ]
}

#[test]
fn models_that_make_too_much_are_refused_by_node_on_both_runtimes() {
    let folder = tempfile::tempdir().unwrap();
    for (op, nodes, tensors) in greedy() {
        let (first, initializers) = projection("z");
        let proto = model(&[N, 3, 8, 8], 17, [first, nodes].concat(), [initializers, tensors].concat());
        for runtime in BOTH {
            let message = at_once(op, || open(folder.path(), &proto, runtime, Some(2))).unwrap_err().to_string();
            assert!(message.contains(&format!("({op}) makes a tensor of")), "{op} on {runtime:?}: {message}");
        }
    }
}

/// A token expanded to the batch, as PyTorch's newer exporter writes it: of `Shape` one axis alone is asked.
#[test]
fn a_batch_size_that_is_asked_for_alone_is_one_number() {
    let folder = tempfile::tempdir().unwrap();
    for (start, end) in [(0, Some(1)), (-4, Some(-3)), (3, None)] {
        let end = end.map(|end| int("end", end));
        let nodes = vec![
            node("Shape", &["x"], &["n"], [vec![int("start", start)], end.into_iter().collect()].concat()),
            node("Concat", &["n", "rest"], &["to"], vec![int("axis", 0)]),
            node("Expand", &["token", "to"], &["tokens"], vec![]),
            node("ReduceMean", &["tokens"], &["m"], vec![int("keepdims", 0)]),
            node("Add", &["z", "m"], &["y"], vec![]),
        ];
        let (first, initializers) = projection("z");
        let tensors = vec![ints("rest", &[3000, 2000]), floats("token", &[1, 1, 1], &[0.5])];
        let proto = model(&[N, 3, 8, 8], 17, [first, nodes].concat(), [initializers, tensors].concat());
        for runtime in BOTH {
            let opened = open(folder.path(), &proto, runtime, Some(2));
            assert!(opened.is_ok(), "{start} on {runtime:?}: {}", opened.unwrap_err());
        }
    }
}

#[test]
fn tensors_that_claim_more_than_they_hold_and_circles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (nodes, _) = projection("y");
    let claiming = TensorProto { dims: vec![1 << 32, 1 << 32], ..weights("w", &[192, 4]) };
    let negative = TensorProto { dims: vec![-1, 4], ..weights("w", &[192, 4]) };
    let circle = vec![
        node("Add", &["x", "b"], &["a"], vec![]),
        node("Relu", &["a"], &["b"], vec![]),
        node("Flatten", &["b"], &["y"], vec![]),
    ];
    for (proto, says) in [
        (model(&[N, 3, 8, 8], 17, nodes.clone(), vec![claiming]), "tensor 'w' claims 18446744073709551616 values"),
        (model(&[N, 3, 8, 8], 17, nodes, vec![negative]), "tensor 'w' has a dimension of -1"),
        (model(&[N, 3, 8, 8], 17, circle, vec![]), "takes what follows from itself"),
    ] {
        for runtime in BOTH {
            let message = at_once(says, || open(folder.path(), &proto, runtime, Some(2))).unwrap_err().to_string();
            assert!(message.contains(says), "{runtime:?}: {message}");
        }
    }
}

#[test]
fn two_tensors_of_one_name_are_refused_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let (nodes, initializers) = projection("y");
    let with = |more: Vec<NodeProto>, tensors: Vec<TensorProto>| {
        model(&[N, 3, 8, 8], 17, [nodes.clone(), more].concat(), [initializers.clone(), tensors].concat())
    };
    let mean = || weights("mean", &[4, 4]);
    let relu = |from: &str, to: &str| node("Relu", &[from], &[to], vec![]);
    let inner = GraphProto { node: vec![relu("x", "c"), relu("x", "c")], ..GraphProto::default() };
    let branch = AttributeProto { name: "then_branch".into(), g: Some(inner), ..AttributeProto::default() };
    for (proto, says) in [
        // As PyTorch's exporter leaves a buffer `mean` beside `x.mean(1)`.
        (
            with(vec![relu("y", "mean")], vec![mean()]),
            "tensor 'mean': two have this name, an initializer and what a node Relu makes",
        ),
        (
            with(vec![relu("y", "a"), relu("x", "a")], vec![]),
            "tensor 'a': two have this name, what a node Relu makes and what a node",
        ),
        (with(vec![relu("y", "x")], vec![]), "tensor 'x': two have this name, an input and what a node Relu makes"),
        (with(vec![], vec![mean(), mean()]), "tensor 'mean': two have this name, an initializer and an initializer"),
        (with(vec![node("If", &["y"], &["z"], vec![branch])], vec![]), "tensor 'c': two have this name"),
    ] {
        for runtime in BOTH {
            let message = open(folder.path(), &proto, runtime, Some(2)).unwrap_err().to_string();
            assert!(message.contains(says) && message.contains("optimize=True"), "{runtime:?}: {message}");
        }
    }
    // An initializer may be the value of an input, and names of outputs that nobody wants are empty.
    let unnamed = node("Dropout", &["y"], &["d", ""], vec![]);
    let mut proto = with(vec![unnamed.clone(), unnamed], vec![]);
    proto.graph.as_mut().unwrap().node.last_mut().unwrap().output[0] = "e".into();
    let graph = proto.graph.as_mut().unwrap();
    let value = graph.initializer[0].name.clone();
    graph.input.push(ValueInfoProto { name: value, ..graph.input[0].clone() });
    let opened = open(folder.path(), &proto, Choice::Tract, Some(2));
    assert!(!opened.err().is_some_and(|error| error.to_string().contains("two have this name")));
}

#[test]
fn nodes_in_any_order_run_on_tract_and_long_chains_do_not_overflow() {
    let folder = tempfile::tempdir().unwrap();
    let (mut nodes, initializers) = projection("r0");
    nodes.extend((0..400).map(|at| node("Relu", &[&format!("r{at}")], &[&format!("r{}", at + 1)], vec![])));
    nodes.push(node("Identity", &["r400"], &["y"], vec![]));
    nodes.reverse();
    let proto = model(&[N, 3, 8, 8], 17, nodes, initializers);
    let mut embedder = open(folder.path(), &proto, Choice::Tract, Some(2)).unwrap();
    let rows = embedder.workers()[0].embed(vec![1.0; 192], 1, [3, 8, 8]).unwrap();
    assert_eq!(rows.dim(), (1, 4));
    let (mut nodes, initializers) = projection("r0");
    nodes.extend((0..5000).map(|at| node("Relu", &[&format!("r{at}")], &[&format!("r{}", at + 1)], vec![])));
    nodes.push(node("Identity", &["r5000"], &["y"], vec![]));
    nodes.reverse();
    let proto = model(&[N, 3, 8, 8], 17, nodes, initializers);
    let message =
        at_once("long chain", || open(folder.path(), &proto, Choice::Tract, Some(2))).unwrap_err().to_string();
    assert!(message.contains("nodes, and tract") && message.contains("--runtime onnxruntime"), "{message}");
}

#[test]
fn batches_that_no_memory_holds_are_refused_by_number() {
    let folder = tempfile::tempdir().unwrap();
    let (nodes, initializers) = projection("y");
    for fixed in [1_i64 << 40, 1 << 62] {
        let proto = model(&[fixed, 3, 8, 8], 17, nodes.clone(), initializers.clone());
        for runtime in BOTH {
            let message = at_once("batch", || open(folder.path(), &proto, runtime, None)).unwrap_err().to_string();
            assert!(
                message.contains(&format!("batch of {fixed}")) && message.contains("as the model fixes it"),
                "{message}"
            );
        }
    }
    let proto = model(&[N, 3, 8, 8], 17, nodes, initializers);
    for batch in [1 << 32, usize::MAX] {
        let message = open(folder.path(), &proto, Choice::Onnxruntime, Some(batch)).unwrap_err().to_string();
        assert!(message.contains(&format!("batch of {batch}")) && message.contains("by --batch"), "{message}");
    }
}

#[test]
fn outputs_of_float64_are_taken_and_integers_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let cast = |to: i64| {
        let (mut nodes, initializers) = projection("z");
        nodes.push(node("Cast", &["z"], &["y"], vec![int("to", to)]));
        model(&[N, 3, 8, 8], 17, nodes, initializers)
    };
    let double = tract_onnx::pb::tensor_proto::DataType::Double;
    for runtime in BOTH {
        let mut embedder = open(folder.path(), &giving(cast(11), double), runtime, Some(2)).unwrap();
        let rows = embedder.workers()[0].embed(vec![0.5; 384], 2, [3, 8, 8]).unwrap();
        assert!(rows.dim() == (2, 4) && rows.iter().all(|v| v.is_finite()) && rows[[0, 0]] != 0.0, "{rows}");
    }
    let long = tract_onnx::pb::tensor_proto::DataType::Int64;
    let error: Error = open(folder.path(), &giving(cast(7), long), Choice::Tract, Some(2)).unwrap_err();
    assert!(error.to_string().contains("no float output; found: y INT64"), "{error}");
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_refused_by_every_reader() {
    use pdloss_embed::dataset::{Dataset, Request};
    use pdloss_embed::embeddings::Embeddings;
    let folder = tempfile::tempdir().unwrap();
    // Nothing comes out of this device: a reader that opens it says that the file is empty.
    let link = |name: &str| {
        let path = folder.path().join(name);
        std::os::unix::fs::symlink("/dev/null", &path).unwrap();
        path
    };
    let matrix = folder.path().join("e.f32");
    std::fs::write(&matrix, [0; 16]).unwrap();
    let load = |name: &str| Dataset::load(&Request::of(link(name))).map(drop).unwrap_err().to_string();
    let embeddings = |name: &str, dim| Embeddings::read(&link(name), dim, None).map(drop).unwrap_err().to_string();
    let labels = |name: &str| Embeddings::read(&matrix, Some(2), Some(&link(name))).map(drop).unwrap_err().to_string();
    let manifest = link("manifest.toml");
    for said in [
        load("list.csv"),
        load("a.zip"),
        load("a.tar"),
        load("a.tgz"),
        embeddings("e.npy", None),
        embeddings("e.safetensors", None),
        embeddings("raw.f32", Some(2)),
        labels("labels.txt"),
        Patch::read(&manifest).map(drop).unwrap_err().to_string(),
    ] {
        assert!(
            said.contains("is no plain file, but a device, pipe or socket") || said.contains("no regular file"),
            "{said}"
        );
    }
}
