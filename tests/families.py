"""Names by family, written out here once more: what the tables of `mnsweep.names` are held against."""

MOBILENETS = ("mobilenet", "full-conv", "shallow", "conv-bias")  # of any width, at any resolution
NATIVE_RESOLUTION = {"alexnet": 227, "squeezenet": 227, "vgg16": 224, "googlenet": 224, "inception-v3": 299}  # of the others
TASK_CLASSES = {
    "classify": 1000,
    "dogs": 120,
    "planet": 26_263,
    "attributes": 40,
    "embedding": 128,
    "ssd": 91,
    "faster-rcnn": 91,
}
DETECTION = ("ssd", "faster-rcnn")
CLASSIFICATION = ("classify", "dogs", "planet")
