"""What the field's own names are: which of them make a loss, an optimizer, a module, a loader; which keep a graph."""

from __future__ import annotations

import builtins
import re

FUNCTIONAL_LOSSES = frozenset(
    "torch.nn.functional." + name
    for name in [
        "binary_cross_entropy",
        "binary_cross_entropy_with_logits",
        "cosine_embedding_loss",
        "cross_entropy",
        "ctc_loss",
        "gaussian_nll_loss",
        "hinge_embedding_loss",
        "huber_loss",
        "kl_div",
        "l1_loss",
        "margin_ranking_loss",
        "mse_loss",
        "multi_margin_loss",
        "multilabel_margin_loss",
        "multilabel_soft_margin_loss",
        "nll_loss",
        "poisson_nll_loss",
        "smooth_l1_loss",
        "soft_margin_loss",
        "triplet_margin_loss",
        "triplet_margin_with_distance_loss",
    ]
)
_LOSS_CLASS = re.compile(r"torch\.nn\.(modules\.loss\.)?\w+Loss(2d)?")
_OPTIMIZER = re.compile(
    r"(torch\.optim|apex\.optimizers|bitsandbytes\.optim|lion_pytorch|torch_optimizer|adabelief_pytorch|"
    r"transformers|transformers\.optimization)\.(?!lr_scheduler\.)(\w+\.)?(?!LBFGS)(\w*(Adam|SGD|Lion|Lamb|LAMB|RMSprop)\w*|"
    r"Adadelta|Adagrad|Adafactor|Adamax|ASGD|NAdam|RAdam|Rprop|Muon|AdaBelief)"
)
_OPTIMIZER_FACTORY = re.compile(r"timm\.optim\.(optim_factory\.)?create_optimizer(_v2)?")
_LOADER = re.compile(
    r"torch\.utils\.data\.(dataloader\.)?DataLoader|torch_geometric\.(loader|data)\.DataLoader|"
    r"monai\.data\.DataLoader|torchdata\.stateful_dataloader\.StatefulDataLoader"
)
_MODULE = re.compile(
    r"torch\.nn\.(modules\.\w+\.)?[A-Z]\w*|torchvision\.models\.([\w.]+\.)?[a-z]\w*|"
    r"timm\.create_model|timm\.models\.create_model|segmentation_models_pytorch\.[A-Z]\w*|"
    r"segmentation_models_pytorch\.create_model|"
    r"transformers\.\w*(Model|For[A-Z])\w*\.from_pretrained|torch\.hub\.load"
)
_NO_MODULE = re.compile(
    r"torch\.nn\.(modules\.\w+\.)?(Parameter\w*|Uninitialized\w+|Buffer)|"
    r"torchvision\.models\.(get_weight|list_models|get_model_weights|get_model_builder)|"
    r"torchvision\.models\.[\w.]*[Ww]eights\b.*"
)
#: wrappers that stand for the module they are given first
MODULE_WRAPPERS = frozenset(
    (
        "torch.compile",
        "torch.jit.script",
        "torch.nn.DataParallel",
        "torch.nn.parallel.DataParallel",
        "torch.nn.parallel.DistributedDataParallel",
        "torch.nn.parallel.distributed.DistributedDataParallel",
        "torch.distributed.fsdp.FullyShardedDataParallel",
        "torch.nn.SyncBatchNorm.convert_sync_batchnorm",
        "apex.parallel.DistributedDataParallel",
        "apex.parallel.convert_syncbn_model",
        "apex.DistributedDataParallel",
        "horovod.torch.DistributedOptimizer",
        "torch.distributed.optim.ZeroRedundancyOptimizer",
    )
)
#: set up and hand back what they are given, all of it in the same order
PASS_BACK = ("prepare", "setup", "initialize")
#: methods that answer the object itself, or the same values elsewhere
SAME_OBJECT = frozenset(
    [
        "to",
        "cuda",
        "cpu",
        "train",
        "eval",
        "float",
        "half",
        "double",
        "bfloat16",
        "type",
        "requires_grad_",
        "share_memory",
        "apply",
        "to_empty",
        "compile",
    ]
)
#: methods of a tensor whose result has no graph, whatever the tensor has
GRAPHLESS_METHODS = frozenset(
    [
        "item",
        "detach",
        "numpy",
        "tolist",
        "argmax",
        "argmin",
        "argsort",
        "eq",
        "ne",
        "lt",
        "le",
        "gt",
        "ge",
        "size",
        "dim",
        "nelement",
        "numel",
        "bool",
        "long",
        "int",
        "isnan",
        "isinf",
        "equal",
        "allclose",
        "backward",
        "nonzero",
    ]
)
#: what answers numbers, text or nothing
GRAPHLESS_CALLS = frozenset(
    [
        "builtins." + n
        for n in [
            "float",
            "int",
            "bool",
            "str",
            "len",
            "print",
            "round",
            "range",
            "isinstance",
            "format",
            "repr",
            "hasattr",
            "type",
            "enumerate",
            "id",
            "open",
            "input",
            "hash",
        ]
    ]
    + [
        "torch." + n
        for n in [
            "argmax",
            "argmin",
            "argsort",
            "eq",
            "ne",
            "lt",
            "le",
            "gt",
            "ge",
            "no_grad",
            "inference_mode",
            "device",
            "manual_seed",
            "load",
            "save",
            "isnan",
            "isinf",
            "equal",
            "allclose",
            "is_tensor",
            "bincount",
            "nonzero",
        ]
    ]
    + ["copy.copy_number", "math.log", "math.exp", "math.sqrt", "numpy.mean", "numpy.array", "numpy.sum"]
)
#: make a tensor from nothing that has a graph
FACTORIES = frozenset(
    "torch." + n
    for n in [
        "tensor",
        "zeros",
        "ones",
        "full",
        "rand",
        "randn",
        "randint",
        "randperm",
        "arange",
        "linspace",
        "eye",
        "empty",
        "zeros_like",
        "ones_like",
        "full_like",
        "rand_like",
        "randn_like",
        "from_numpy",
        "as_tensor",
        "Tensor",
        "FloatTensor",
        "LongTensor",
    ]
)
#: what makes a value without a graph, whatever it is made of
GRAPHLESS = (
    GRAPHLESS_CALLS
    | FACTORIES
    | {f".{name}" for name in GRAPHLESS_METHODS}
    | {"data", "compare", ".data", ".shape", ".grad"}
)
NO_GRAD = frozenset(
    (
        "torch.no_grad",
        "torch.inference_mode",
        "torch.autograd.no_grad",
        "torch.autograd.inference_mode",
        "torch.autograd.grad_mode.no_grad",
        "torch.autograd.grad_mode.inference_mode",
    )
)
ENABLE_GRAD = frozenset(("torch.enable_grad", "torch.autograd.enable_grad", "torch.autograd.grad_mode.enable_grad"))
SET_GRAD = frozenset(
    ("torch.set_grad_enabled", "torch.autograd.set_grad_enabled", "torch.autograd.grad_mode.set_grad_enabled")
)
SOFTMAX = frozenset(
    (
        "torch.softmax",
        "torch.nn.functional.softmax",
        "torch.nn.functional.softmin",
        "torch.nn.Softmax",
        "torch.nn.Softmax2d",
        "torch.nn.modules.activation.Softmax",
        "torch.special.softmax",
        ".softmax",
    )
)
#: layers that behave otherwise in training than in evaluation
MODE_LAYER = re.compile(
    r"torch\.nn\.(modules\.\w+\.)?(\w*BatchNorm\w*|\w*Dropout\w*|InstanceNorm\w*|RReLU|Transformer\w*|"
    r"MultiheadAttention|LSTM|GRU|RNN)|torch\.nn\.functional\.(\w*dropout\w*|batch_norm|rrelu|"
    r"instance_norm|scaled_dot_product_attention)|torch\.dropout"
)
#: other frameworks whose steps, modes and gradients go by the same words
_FOREIGN = re.compile(r"^\s*(?:from|import)\s+(?:paddle|mxnet|mindspore|jittor|chainer|tinygrad)\b", re.MULTILINE)
_OWN = re.compile(r"^\s*(?:from|import)\s+(?:\w*torch|lightning|accelerate|timm|ignite|fastai)", re.MULTILINE)
#: layers that hold no weights
PARAMETERLESS = re.compile(
    r"torch\.nn\.(modules\.\w+\.)?(\w*(?<!P)ReLU6?|SiLU|GELU|C?ELU|SELU|Mish|GLU|Tanh\w*|\w*Sigmoid|Soft\w+|LogSoftmax|"
    r"Hard\w+|Threshold|\w+Pool[123]d|Identity|(Un)?[Ff]latten|Dropout[123]?d?|Pixel\w+|\w+Pad[123]d|Upsample)"
)
BUILTINS = frozenset(dir(builtins)) | {"__file__", "__name__"}


def is_loss_class(symbol: str) -> bool:
    return _LOSS_CLASS.fullmatch(symbol) is not None


def is_optimizer(symbol: str) -> bool:
    return (_OPTIMIZER.fullmatch(symbol) or _OPTIMIZER_FACTORY.fullmatch(symbol)) is not None


def is_loader(symbol: str) -> bool:
    return _LOADER.fullmatch(symbol) is not None


def is_module(symbol: str) -> bool:
    """Whether calling this name makes a network or a layer."""
    return _MODULE.fullmatch(symbol) is not None and _NO_MODULE.fullmatch(symbol) is None


def is_module_base(symbol: str) -> bool:
    """Whether a class derived from this name is a Module whose calls run `forward`."""
    return is_module(symbol) or symbol in ("torch.jit.ScriptModule", "transformers.PreTrainedModel")


def is_foreign(text: str) -> bool:
    """Whether a source is written for another framework, and not for torch as well."""
    return _FOREIGN.search(text) is not None and _OWN.search(text) is None
