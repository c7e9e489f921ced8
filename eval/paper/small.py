"""Small copies of the photographs: a folder a class, each image as large as the nets take it, so that decoding large files
again and again is not what the experiments wait for. Pillow's antialiased bilinear filter, which `pdloss` also uses."""
import shutil
import sys
import zipfile

from PIL import Image


def omniglot(folder):
    """Class and image of each drawing of the zip, characters in the order of their names."""
    archive = zipfile.ZipFile(folder / "omniglot" / "images_background_small1.zip")
    names = sorted(name for name in archive.namelist() if name.endswith(".png"))
    classes = {character: number for number, character in enumerate(dict.fromkeys(name.rpartition("/")[0] for name in names), 1)}
    for name in names:
        with archive.open(name) as file:
            yield classes[name.rpartition("/")[0]], Image.open(file).convert("L")


def grocery(folder):
    """Class (the fine one) and image of each photograph of the test part."""
    dataset = folder / "grocery" / "dataset"
    for line in (dataset / "test.txt").read_text().splitlines():
        name, fine, _ = line.split(", ")
        yield int(fine) + 1, Image.open(dataset / name).convert("RGB")


SOURCES = {"omniglot": omniglot, "grocery": grocery}


def make(data, source, target):
    """The folder of a data set's small copies, made where it is not there yet."""
    if target.is_dir():
        return target
    unfinished = target.with_name(target.name + ".part")
    shutil.rmtree(unfinished, ignore_errors=True)
    for number, (label, image) in enumerate(SOURCES[data.name](source)):
        path = unfinished / f"{label:03}" / f"{number:05}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.resize((data.side, data.side), Image.Resampling.BILINEAR).save(path)
    print(f"{data.name}: {number + 1} small images", file=sys.stderr, flush=True)
    return unfinished.rename(target)
