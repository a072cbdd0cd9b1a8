# ruff: noqa: E501  # messages stand as they are printed
"""What people paste, and the pitfall that must come first; and what no pitfall may claim."""

import functools
from pathlib import Path

import pytest

from dldoctor.registry import Check
from dldoctor.settings import load_settings
from dldoctor.symptoms import Match, diagnose

ROOT = Path(__file__).parent


@functools.cache
def catalogue() -> tuple[Check, ...]:
    return tuple(load_settings(ROOT / "no-such-folder").registry.checks.values())


def candidates(text: str) -> list[str]:
    return [match.check.code for match in diagnosed(text)]


def diagnosed(text: str) -> list[Match]:
    return diagnose(text, catalogue())


#: one message as torch and its kin print it, today's and those of old versions
MESSAGES = """
IMG001 OSError: image file is truncated (24 bytes not processed)
IMG001 OSError: image file is truncated
IMG001 IOError: Truncated File Read
IMG001 OSError: unrecognized data stream contents when reading image file
IMG002 PIL.UnidentifiedImageError: cannot identify image file '/data/train/a.jpg'
IMG002 OSError: cannot identify image file <_io.BufferedReader name='C:\\data\\a.jpg'>
IMG002 cv2.error: OpenCV(4.9.0) D:\\a\\opencv\\color.cpp:196: error: (-215:Assertion failed) !_src.empty() in function 'cv::cvtColor'
IMG002 cv2.error: OpenCV(4.1.2) /io/resize.cpp:3723: error: (-215:Assertion failed) !ssize.empty() in function 'resize'
IMG003 RuntimeError: Input is empty, torchvision.io.decode_image
IMG004 OSError: broken data stream when reading image file
IMG004 libpng error: IDAT: CRC error
IMG004 Corrupt JPEG data: premature end of data segment
IMG005 RuntimeError: Given input size: (3x1x1). Calculated output size: (3x0x0). Output size is too small
IMG006 RuntimeError: stack expects each tensor to be equal size, but got [3, 224, 224] at entry 0 and [1, 224, 224] at entry 5
IMG006 RuntimeError: stack expects each tensor to be equal size, but got [4, 32, 32] at entry 0 and [3, 40, 32] at entry 1
IMG006 RuntimeError: invalid argument 0: Sizes of tensors must match except in dimension 0. Got 3 and 1 in dimension 1 at TH/THTensorMoreMath.cpp:1307
IMG006 RuntimeError: output with shape [1, 28, 28] doesn't match the broadcast shape [3, 28, 28]
MSK001 IndexError: Target 255 is out of bounds.
MSK001 NLLLoss2d.cu:103: nll_loss2d_forward_kernel: block: [1,0,0], thread: [3,0,0] Assertion `t >= 0 && t < n_classes` failed. RuntimeError: CUDA error: device-side assert triggered
MSK003 RuntimeError: 1only batches of spatial targets supported (3D tensors) but got targets of dimension: 4
MSK003 RuntimeError: only batches of spatial targets supported (3D tensors) but got targets of size: : [4, 3, 64, 64]
MSK004 RuntimeError: input and target batch or spatial sizes don't match: target [4 x 64 x 64], input [4 x 2 x 32 x 32] at SpatialClassNLLCriterion.cu:24
MSK004 RuntimeError: size mismatch (got input: [4, 3, 8, 8] , target: [4, 16, 16]
MOD020 RuntimeError: Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!
LBL001 IndexError: Target 12 is out of bounds.
LBL001 IndexError: Target -1 is out of bounds.
LBL001 RuntimeError: Assertion `t >= 0 && t < n_classes' failed. at /pytorch/aten/src/THNN/generic/ClassNLLCriterion.c:97
LBL001 RuntimeError: CUDA error: device-side assert triggered CUDA kernel errors might be asynchronously reported at some other API call
LBL001 RuntimeError: cuda runtime error (59) : device-side assert triggered at /pytorch/aten/src/THC/generic/THCTensorMath.cu:26
LBL001 RuntimeError: Class values must be smaller than num_classes.
LBL002 ValueError: too many dimensions 'str'
LBL002 TypeError: new(): invalid data type 'str'
LBL002 TypeError: can't convert np.ndarray of type numpy.object_. The only supported types are: float64, float32
LBL010 FileNotFoundError: Found no valid file for the classes .ipynb_checkpoints. Supported extensions are: .jpg, .jpeg
LBL010 FileNotFoundError: Couldn't find any class folder in data/train.
SPL002 ValueError: Expected more than 1 value per channel when training, got input size [1, 512, 1, 1]
SPL002 ValueError: Expected more than 1 value per channel when training, got input size torch.Size([1, 512])
DAT001 ValueError: At least one stride in the given numpy array is negative, and tensors with negative strides are not currently supported. (You can probably work around this by making a copy of your array  with array.copy().)
DAT001 ValueError: some of the strides of a given numpy array are negative. This is currently not supported, but will be added in future releases.
IMG007 RuntimeError: stack expects each tensor to be equal size, but got [3, 20, 20] at entry 0 and [3, 21, 20] at entry 1
DAT002 RuntimeError: each element in list of batch should be of equal size
IMG007 RuntimeError: invalid argument 0: Sizes of tensors must match except in dimension 0. Got 182 and 360 in dimension 2
DAT002 RuntimeError: Trying to resize storage that is not resizable
DAT003 KeyError: Caught KeyError in DataLoader worker process 0.
DAT003 RuntimeError: DataLoader worker (pid(s) 4242) exited unexpectedly
MOD001 RuntimeError: mat1 and mat2 shapes cannot be multiplied (256x233280 and 2000x500)
MOD001 RuntimeError: mat1 dim 1 must match mat2 dim 0
MOD001 RuntimeError: size mismatch, m1: [256 x 233280], m2: [2000 x 500] at /pytorch/aten/src/TH/generic/THTensorMath.cpp:752
MOD001 ** On entry to SGEMM parameter number 8 had an illegal value
MOD001 RuntimeError: input.size(-1) must be equal to input_size. Expected 10, got 20
MOD001 RuntimeError: a and b must have same reduction dim, but got [4, 1200] X [2000, 500].
MOD002 RuntimeError: Given groups=1, weight of size [8, 3, 3, 3], expected input[1, 1, 28, 28] to have 3 channels, but got 1 channels instead
MOD002 RuntimeError: Given groups=1, weight[64, 3, 7, 7], so expected input[1, 4, 9, 9] to have 3 channels, but got 4 channels instead
MOD002 RuntimeError: Given transposed=1, weight of size [3, 8, 3, 3], expected input[2, 5, 8, 8] to have 3 channels, but got 5 channels instead
MOD003 RuntimeError: running_mean should contain 32 elements not 64
MOD003 RuntimeError: Given normalized_shape=[64], expected input with shape [*, 64], but got input of size[2, 32]
MOD003 RuntimeError: Expected weight to be a vector of size equal to the number of channels in input, but got weight of shape [64]
MOD003 ValueError: expected input's size at dim=1 to match num_features (64), but got: 32.
MOD004 RuntimeError: Calculated padded input size per channel: (2 x 2). Kernel size: (3 x 3). Kernel size can't be greater than actual input size
MOD004 RuntimeError: Given input size: (512x1x2). Calculated output size: (512x0x1). Output size is too small
MOD009 ValueError: Expected more than 1 spatial element when training, got input size torch.Size([4, 512, 1, 1])
MOD017 RuntimeError: Given groups=1, weight of size [8, 3, 3, 3], expected input[8, 224, 224, 3] to have 3 channels, but got 224 channels instead
LOS001 RuntimeError: 0D or 1D target tensor expected, multi-target not supported
LOS001 RuntimeError: multi-target not supported at /pytorch/aten/src/THNN/generic/ClassNLLCriterion.c:22
LOS001 ValueError: Target size (torch.Size([4])) must be the same as input size (torch.Size([4, 1]))
LOS001 ValueError: Expected target size (2, 12), got torch.Size([2, 10]) in F.cross_entropy
LOS002 RuntimeError: expected scalar type Long but found Int
LOS002 RuntimeError: expected target dtype to be Long or Byte, but got Float
LOS002 RuntimeError: Expected object of scalar type Long but got scalar type Float for argument #2 'target'
LOS002 RuntimeError: Expected object of type torch.LongTensor but found type torch.FloatTensor for argument #2 'target'
LOS002 RuntimeError: "nll_loss_forward_reduce_cuda_kernel_2d_index" not implemented for 'Int'
LOS002 RuntimeError: result type Float can't be cast to the desired output type Long
MEM001 torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 23.69 GiB
MEM001 RuntimeError: CUDA out of memory. Tried to allocate 1.2 GiB (GPU 0; 11.17 GiB total capacity; 9 GiB already allocated)
MEM002 torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB. Process 4242 has 20.11 GiB memory in use.
MEM002 RuntimeError: CUDA error: out of memory
ENV001 RuntimeError: DataLoader worker (pid 4242) is killed by signal: Bus error. It is possible that dataloader's workers are out of shared memory.
ENV001 ERROR: Unexpected bus error encountered in worker. This might be caused by insufficient shared memory (shm).
ENV002 AssertionError: Torch not compiled with CUDA enabled
ENV002 RuntimeError: Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU
ENV002 RuntimeError: The NVIDIA driver on your system is too old (found version 11040).
ENV002 RuntimeError: No CUDA GPUs are available
ENV004 RuntimeError: CUDA error: invalid device ordinal
ENV005 RuntimeError: operator torchvision::nms does not exist
ENV009 torch.distributed.DistNetworkError: The server socket has failed to listen on any local network address. port: 29500, useIpv6: false, code: -98, name: EADDRINUSE
ENV009 RuntimeError: Address already in use (init_process_group)
ENV012 RuntimeError: DataLoader worker (pid 77) is killed by signal: Killed.
ENV012 OSError: [Errno 12] Cannot allocate memory
RUN003 Loss is nan, stopping training
RUN003 RuntimeError: Function 'SqrtBackward0' returned nan values in its 0th output.
CKP001 RuntimeError: Error(s) in loading state_dict for Net: Missing key(s) in state_dict: "features.0.weight". Unexpected key(s) in state_dict: "module.features.0.weight".
CKP001 RuntimeError: Error(s) in loading state_dict for OptimizedModule: Unexpected key(s) in state_dict: "_orig_mod.fc.weight"
CKP002 RuntimeError: Error(s) in loading state_dict for Net: Missing key(s) in state_dict: "fc.weight".
CKP002 RuntimeError: size mismatch for fc.weight: copying a param with shape torch.Size([1000, 512]) from checkpoint, the shape in current model is torch.Size([10, 512]).
CKP003 _pickle.UnpicklingError: Weights only load failed. This file can still be loaded, to do so you have two options
CKP006 RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory
CKP006 RuntimeError: unexpected EOF, expected 2359296 more bytes. The file might be corrupted.
CKP006 UnpicklingError: invalid load key, '<'.
CKP006 UnpicklingError: invalid load key, 'v'.
CKP006 RuntimeError: ckpt.pt is a zip archive (did you mean to use torch.jit.load()?)
CKP009 TypeError: Expected state_dict to be dict-like, got <class 'method'>.
MOD026 ValueError: Expected input batch_size (8) to match target batch_size (4).
CKP005 RuntimeError: Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False.
SRC036 RuntimeError: element 0 of tensors does not require grad and does not have a grad_fn
SRC015 RuntimeError: view size is not compatible with input tensor's size and stride. Use .reshape(...) instead.
SRC081 TabError: inconsistent use of tabs and spaces in indentation
"""

#: what is no pitfall of the catalogue, or can't be known to be one
NOTHING = """
KeyError: 'image'
ModuleNotFoundError: No module named 'my_models'
requests.exceptions.ConnectionError: HTTPSConnectionPool(host='huggingface.co', port=443): Max retries exceeded with url: /
FileNotFoundError: [Errno 2] No such file or directory: 'data/train/a.jpg'
TypeError: forward() missing 1 required positional argument: 'x'
AttributeError: 'NoneType' object has no attribute 'shape'
RuntimeError: The size of tensor a (64) must match the size of tensor b (60) at non-singleton dimension 0
RuntimeError: The size of tensor a (512) must match the size of tensor b (513) at non-singleton dimension 3, attention_mask
RuntimeError: shape '[-1, 6]' is invalid for input of size 20
IndexError: index out of range in self
RuntimeError: CUDA error: device-side assert triggered; Indexing.cu:1093: Assertion `srcIndex < srcSelectDimSize` failed.
error: Your local changes to the following files would be overwritten by merge: train.py
On branch main. Your branch is up to date with 'origin/main'. nothing to commit, working tree clean
Collecting torch==2.15 Using cached torch-2.15-cp311-manylinux.whl (755.5 MB) Successfully installed torch-2.15
ERROR: Could not find a version that satisfies the requirement troch (from versions: none)
Epoch 3/90 [1200/5004] time 0.31 data 0.01 loss 2.3141 (2.5012) acc@1 48.05 mem 10241MiB lr 0.1
We train for 90 epochs with a batch of 256 and take the best checkpoint on the validation split.
KeyboardInterrupt
ZeroDivisionError: division by zero
/bin/sh: 1: python: not found
OSError: [Errno 98] Address already in use: uvicorn 0.0.0.0:8000
RuntimeError: Sizes of tensors must match except in dimension 1. Expected size 8 but got size 9 for tensor number 1
PermissionError: [Errno 13] Permission denied: '/data/out'
"""


@pytest.mark.parametrize("row", MESSAGES.strip().splitlines())
def test_the_right_pitfall_comes_first(row: str) -> None:
    code, _, message = row.partition(" ")
    assert candidates(message)[:1] == [code], message


@pytest.mark.parametrize("message", NOTHING.strip().splitlines())
def test_no_pitfall_claims_what_it_can_not_know(message: str) -> None:
    assert candidates(message) == []


TRACEBACK = """Traceback (most recent call last):
  File "/home/me/train.py", line 31, in main
    loss = criterion(net(x), y)  # Target 3 is out of bounds; CUDA out of memory
           ^^^^^^^^^^^^^^^^^^^^
  File "/home/me/venv/lib/python3.11/site-packages/torch/nn/modules/linear.py", line 134, in forward
    return F.linear(input, self.weight, self.bias)
RuntimeError: mat1 and mat2 shapes cannot be multiplied (256x233280 and 2000x500)
"""


def _each(prefix: str) -> str:
    return "\n".join(prefix + line for line in TRACEBACK.splitlines())


def _wrapped(text: str, width: int) -> str:
    return "\n".join(line[at : at + width] for line in text.splitlines() for at in range(0, len(line), width))


BOX = """╭───────────────────── Traceback (most recent call last) ─────────────────────╮
│ /home/me/train.py:31 in main                                                │
│                                                                             │
│ ❱ 31 │   raise RuntimeError("Target 3 is out of bounds")                    │
│ ╭──────── locals ────────╮                                                  │
│ │ note = 'CUDA out of memory' │                                             │
╰─────────────────────────────────────────────────────────────────────────────╯
RuntimeError: mat1 and mat2 shapes cannot be
multiplied (256x233280 and 2000x500)
"""

NOTEBOOK = """---------------------------------------------------------------------------
RuntimeError                              Traceback (most recent call last)
Cell In[7], line 2
      1 # CUDA out of memory, Target 3 is out of bounds
----> 2 net(torch.rand(256, 3, 224, 224))

File ~/venv/lib/python3.11/site-packages/torch/nn/modules/linear.py:134, in Linear.forward(self, input)
    133 def forward(self, input):
--> 134     return F.linear(input, self.weight, self.bias)

RuntimeError: mat1 and mat2 shapes cannot be multiplied (256x233280 and 2000x500)
"""

SHAPES = {
    "plain": TRACEBACK,
    "torchrun": _each("[rank0]: "),
    "torchrun, old": _each("[default0]:"),
    "srun": _each(" 3: "),
    "mpirun": _each("[1,0]<stderr>:"),
    "ray": _each("(TrainWorker pid=12, ip=10.0.0.1) "),
    "docker compose": _each("train-1  | "),
    "logging": _each("2026-05-01 12:00:00,123 - root - ERROR - "),
    "hydra": _each("[2026-05-01 12:00:00,123][__main__][ERROR] - "),
    "kubernetes": _each("2026-05-01T12:00:00.123456789Z "),
    "quoted in a mail": _each("> "),
    "wrapped at 80": _wrapped(TRACEBACK, 80),
    "wrapped at 60 with ranks": _wrapped(_each("[rank0]: "), 60),
    "lines of Windows": TRACEBACK.replace("\n", "\r\n"),
    "without indents": "\n".join(line.strip() for line in TRACEBACK.splitlines()),
    "colours": TRACEBACK.replace("RuntimeError", "\x1b[1;31mRuntimeError\x1b[0m"),
    "a progress bar before": "\r 10%|#    | 1/9\r 20%|##   | 2/9" + TRACEBACK,
    "a web page": TRACEBACK.replace('"', "&quot;").replace("'", "&#x27;"),
    "rich": BOX,
    "a notebook": NOTEBOOK,
    "the middle of a log": "epoch 1 loss 0.5\n" * 200 + TRACEBACK + "W0501 closing signal SIGTERM\n" * 50,
    "another one while handling it": TRACEBACK
    + "\nDuring handling of the above exception, another exception occurred:\n\n"
    + 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    main()\nKeyError: 3\n',
}


@pytest.mark.parametrize("shape", SHAPES)
def test_it_is_found_however_it_was_pasted_and_code_says_nothing(shape: str) -> None:
    matches = diagnosed(SHAPES[shape])
    assert matches[0].check.code == "MOD001"
    assert len(matches) == 1 or "wrapped" in shape
    assert "write in_features=233280 where 2000 stands" in matches[0].answer


def test_the_error_inside_a_worker_comes_before_the_worker() -> None:
    text = (
        "PIL.UnidentifiedImageError: Caught UnidentifiedImageError in DataLoader worker process 0.\n"
        "Original Traceback (most recent call last):\n"
        '  File "data.py", line 4, in __getitem__\n    return Image.open(path)\n'
        "PIL.UnidentifiedImageError: cannot identify image file 'a.jpg'\n"
    )
    assert candidates(text) == ["IMG002", "IMG003", "DAT003"]


def test_what_was_raised_comes_before_what_was_printed() -> None:
    text = (
        "Corrupt JPEG data: 3 extraneous bytes before marker 0xd9\n" * 4
        + "Traceback (most recent call last):\n"
        + '  File "train.py", line 9, in fit\n    net(x)\n'
        + "RuntimeError: running_mean should contain 32 elements not 64\n"
    )
    assert candidates(text) == ["MOD003", "IMG004"]


@pytest.mark.parametrize(
    ("function", "line", "code"),
    [
        ("validate", "out = net(x)", "SRC005"),
        ("train", "out = net(x)", "MEM001"),
        ("main", "state = torch.load(path)", "SRC009"),
        ("train", "total_loss += loss", "SRC001"),
    ],
)
def test_the_frames_of_the_user_decide_between_candidates(function: str, line: str, code: str) -> None:
    found = candidates(
        f'Traceback (most recent call last):\n  File "t.py", line 3, in {function}\n    {line}\n'
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 MiB.\n"
    )
    assert found[0] == code
    assert {"MEM001", "SRC001", "SRC005", "MEM002"} <= set(found)


def test_thousands_of_asserts_are_one_message() -> None:
    line = (
        "../aten/src/ATen/native/cuda/Loss.cu:250: nll_loss_forward_reduce_cuda_kernel_2d: block: [0,0,0], "
        "thread: [{},0,0] Assertion `t >= 0 && t < n_classes` failed.\n"
    )
    text = "".join(line.format(number) for number in range(3000)) + TRACEBACK.replace(
        "mat1 and mat2 shapes cannot be multiplied (256x233280 and 2000x500)",
        "CUDA error: device-side assert triggered",
    )
    assert candidates(text)[0] == "LBL001"
