"""Names of torch, torchvision, NumPy and Pillow that are gone or on their way out, and what takes their place.

A table and nothing else. What a row says was tried with torch 2.15, torchvision 0.29, NumPy 2.4 and Pillow 13.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OldName:
    name: str
    #: the version that removed or deprecated it; empty where only "today" is known
    since: str
    #: what takes its place: a qualified name, perhaps behind a minus; empty where no name alone does
    new: str = ""
    #: what to do, in words; made from `new` where empty
    words: str = ""
    #: how a call's arguments change with the name; empty where they stay. A key of the rewritings
    call: str = ""
    #: whether the new name does the very same
    safe: bool = True
    #: a module: all names in it are meant
    module: bool = False


def _rows(since: str, start: str, pairs: str, *, safe: bool = True) -> list[OldName]:
    """Rows `old=new`, where `~` stands for the common start of both names."""
    rows = []
    for pair in pairs.split():
        old, _, new = pair.partition("=")
        rows.append(OldName(start + old, since, new.replace("~", start), safe=safe))
    return rows


def _moved(since: str, old: str, new: str, names: str) -> list[OldName]:
    """Rows of names that stand elsewhere under the same last name."""
    return [OldName(old + name, since, new + name) for name in names.split()]


def _in_words(since: str, start: str, told: dict[str, str], *, module: bool = False) -> list[OldName]:
    return [OldName(start + old, since, words=words, module=module) for old, words in told.items()]


#: loading one of these raises, or calling it does
GONE: dict[str, OldName] = {
    row.name: row
    for row in (
        # --- NumPy
        *_rows("NumPy 1.24", "numpy.", """float=builtins.float int=builtins.int object=builtins.object
            str=builtins.str complex=builtins.complex unicode=builtins.str typeDict=~sctypeDict"""),
        *_rows("NumPy 2.0", "numpy.", """float_=~float64 complex_=~complex128 cfloat=~complex128
            singlecomplex=~complex64 longfloat=~longdouble longcomplex=~clongdouble clongfloat=~clongdouble
            unicode_=~str_ string_=~bytes_ str0=~str_ bytes0=~bytes_ object0=~object_ void0=~void bool8=~bool_
            int0=~intp uint0=~uintp Inf=~inf Infinity=~inf infty=~inf PINF=~inf NINF=-~inf NaN=~nan NAN=~nan
            product=~prod cumproduct=~cumprod sometrue=~any alltrue=~all round_=~round mat=~asmatrix
            issubclass_=builtins.issubclass DataSource=~lib.npyio.DataSource byte_bounds=~lib.array_utils.byte_bounds
            compare_chararrays=~char.compare_chararrays ComplexWarning=~exceptions.ComplexWarning
            VisibleDeprecationWarning=~exceptions.VisibleDeprecationWarning AxisError=~exceptions.AxisError
            RankWarning=~exceptions.RankWarning"""),
        *_rows("NumPy 2.4", "numpy.", "in1d=~isin trapz=~trapezoid"),
        *_in_words("NumPy 2.0", "numpy.", {
            "cast": "write np.asarray(x, dtype=...)",
            "asfarray": "write np.asarray(x, dtype=float)",
            "find_common_type": "write np.result_type(...)",
            "safe_eval": "write ast.literal_eval(...)",
            "source": "write inspect.getsource(...)",
            "msort": "write np.sort(x, axis=0)",
            "issctype": "write issubclass(x, np.generic)",
            "obj2sctype": "write np.dtype(x).type",
            "sctypes": "name the dtypes themselves",
            "maximum_sctype": "name the widest dtype itself",
            "nbytes": "write np.dtype(x).itemsize",
            "set_string_function": "write np.set_printoptions(formatter=...)",
            "disp": "write print(...)",
            "deprecate": "call warnings.warn with a DeprecationWarning",
            "lookfor": "search NumPy's documentation",
            "who": "take it out",
            "recfromcsv": "write np.genfromtxt(..., delimiter=\",\", names=True, dtype=None)",
            "recfromtxt": "write np.genfromtxt(...)",
            "fastCopyAndTranspose": "write x.T.copy()",
            "geterrobj": "use the context manager np.errstate",
            "math": "import math, and use that",
        }),
        *_in_words("NumPy 1.23", "numpy.", {"asscalar": "write x.item()", "rank": "write np.ndim(x)",
                                            "alen": "write len(x)"}),
        # --- Pillow
        *_rows("Pillow 10", "PIL.Image.", "ANTIALIAS=~LANCZOS LINEAR=~BILINEAR CUBIC=~BICUBIC"),
        *_rows("Pillow 7", "PIL.", "PILLOW_VERSION=~__version__ Image.PILLOW_VERSION=~__version__"),
        *_rows("Pillow 10", "PIL.ImageFont.", "LAYOUT_BASIC=~Layout.BASIC LAYOUT_RAQM=~Layout.RAQM"),
        *_in_words("Pillow 3", "PIL.Image.", {"fromstring": "write Image.frombytes(...)"}),
        *_in_words("", "PIL.", {"ImageMath.eval": "write ImageMath.lambda_eval(...)",
                                "Image.isImageType": "write isinstance(x, Image.Image)"}),
        # --- torchvision
        *_rows("torchvision 0.13", "torchvision.", """transforms.Scale=~transforms.Resize
            transforms.RandomSizedCrop=~transforms.RandomResizedCrop
            models.utils.load_state_dict_from_url=torch.hub.load_state_dict_from_url
            models.mobilenet.ConvBNReLU=~ops.Conv2dNormActivation
            models.mobilenetv2.ConvBNReLU=~ops.Conv2dNormActivation
            models.mobilenetv3.ConvBNActivation=~ops.Conv2dNormActivation"""),
        *_rows("torchvision 0.13", "torchvision.ops.misc.", """Conv2d=torch.nn.Conv2d
            ConvTranspose2d=torch.nn.ConvTranspose2d BatchNorm2d=torch.nn.BatchNorm2d"""),
        *_moved("torchvision 0.17", "torchvision.transforms.functional_tensor.", "torchvision.transforms.functional.",
            """rgb_to_grayscale adjust_brightness adjust_contrast adjust_hue adjust_saturation adjust_gamma hflip vflip
            crop pad resize affine rotate perspective gaussian_blur invert posterize solarize adjust_sharpness
            autocontrast equalize normalize erase convert_image_dtype five_crop ten_crop"""),
        *_rows("torchvision 0.16", "torchvision.transforms.v2.",
               "ToImageTensor=~ToImage ToImagePIL=~ToPILImage ConvertDtype=~ToDtype", safe=False),
        *(OldName(f"torchvision.transforms.{old}", "torchvision 0.17", "torchvision.transforms.functional",
                  "take the function of the same name from torchvision.transforms.functional", module=True)
          for old in ("functional_tensor", "functional_pil")),
        OldName("torchvision.datapoints", "torchvision 0.16", "torchvision.tv_tensors",
                "take the class of the same name from torchvision.tv_tensors", safe=False, module=True),
        *_in_words("torchvision 0.13", "torchvision.models.", {
            f"{model}.model_urls": "take the address from the weights: ResNet50_Weights.IMAGENET1K_V1.url and its like"
            for model in ("resnet", "vgg", "densenet", "alexnet", "squeezenet", "googlenet", "inception", "mobilenet",
                          "mobilenetv2", "mobilenetv3", "mnasnet", "shufflenetv2", "detection.faster_rcnn",
                          "detection.mask_rcnn", "segmentation.segmentation")
        }),
        *_in_words("", "torchvision.io.", dict.fromkeys(
            ("read_video", "read_video_timestamps", "write_video", "VideoReader"),
            "decode videos with torchcodec, whose VideoDecoder answers tensors",
        )),
        # --- torch
        *_in_words("torch 1.9 deprecated it", "torch.", {
            "solve": "write torch.linalg.solve(A, B): the arguments are the other way round",
            "lstsq": "write torch.linalg.lstsq(A, B): the arguments are the other way round",
            "symeig": "write torch.linalg.eigh(A), or eigvalsh(A) for the values alone",
            "eig": "write torch.linalg.eig(A), or eigvals(A) for the values alone: they are complex tensors",
        }),
        OldName("torch.matrix_rank", "torch 1.9 deprecated it", "torch.linalg.matrix_rank", call="alone"),
        OldName("torch.qr", "torch 1.9 deprecated it", "torch.linalg.qr", call="qr"),
        OldName("torch.cholesky", "torch 1.9 deprecated it", "torch.linalg.cholesky", call="cholesky"),
        *_in_words("torch 1.8", "torch.", {
            "rfft": "write torch.fft.rfftn(...), which answers complex tensors",
            "irfft": "write torch.fft.irfftn(...), which takes complex tensors",
            "ifft": "write torch.fft.ifftn(...), on complex tensors",
        }),
        *_in_words("torch 1.2", "torch.", {
            "gesv": "write torch.linalg.solve(A, B)", "gels": "write torch.linalg.lstsq(A, B)",
            "potrf": "write torch.linalg.cholesky(A)", "trtrs": "write torch.linalg.solve_triangular(A, B, upper=...)",
            "btrifact": "write torch.linalg.lu_factor(A)",
        }),
        *_in_words("torch 2.0", "torch.", {
            "_six": "write str for string_classes, collections.abc for container_abcs, torch.inf for inf",
        }, module=True),
        OldName("torch._six.inf", "torch 2.0", "torch.inf"),
        OldName("torch._six.nan", "torch 2.0", "torch.nan"),
        OldName("torch._six.string_classes", "torch 2.0", "builtins.str", safe=False),
        OldName("torch._six.int_classes", "torch 2.0", "builtins.int"),
        OldName("torch._six.container_abcs", "torch 2.0", "collections.abc"),
        *_in_words("torch 1.0", "torch.utils.", {"ffi": "write the extension with torch.utils.cpp_extension"},
                   module=True),
        *_in_words("torch 0.4", "torch.", {"legacy": "use the layers of torch.nn"}, module=True),
        *_rows("torch 1.11", "torch.", """set_deterministic=~use_deterministic_algorithms
            is_deterministic=~are_deterministic_algorithms_enabled"""),
        *_rows("torch 2.1", "torch.storage.", "_TypedStorage=~TypedStorage _UntypedStorage=~UntypedStorage"),
        *_in_words("", "torch.", {
            "onnx.dynamo_export": "write torch.onnx.export(..., dynamo=True)",
            "onnx.set_training": "use the context manager torch.onnx.select_model_mode_for_export",
            "distributed.pipeline": "use torch.distributed.pipelining",
            "_export.capture_pre_autograd_graph": "write torch.export.export(...).module()",
            "export.export_for_training": "write torch.export.export(...)",
            "export.dynamic_dim": "write torch.export.Dim(...)",
        }),
    )
}  # fmt: skip

#: these work, and say or document that they are to go
DEPRECATED: dict[str, OldName] = {
    row.name: row
    for row in (
        OldName("torch.cuda.amp.autocast", "torch 2.4", "torch.amp.autocast", call="cuda"),
        OldName("torch.cuda.amp.autocast_mode.autocast", "torch 2.4", "torch.amp.autocast", call="cuda"),
        OldName("torch.cuda.amp.GradScaler", "torch 2.4", "torch.amp.GradScaler", call="cuda"),
        OldName("torch.cuda.amp.grad_scaler.GradScaler", "torch 2.4", "torch.amp.GradScaler", call="cuda"),
        OldName("torch.cpu.amp.autocast", "torch 2.4", "torch.amp.autocast", call="cpu"),
        OldName("torch.cpu.amp.GradScaler", "torch 2.4", "torch.amp.GradScaler", call="cpu"),
        *_in_words("torch 2.4", "torch.cuda.amp.", {
            "custom_fwd": "write torch.amp.custom_fwd(device_type=\"cuda\")",
            "custom_bwd": "write torch.amp.custom_bwd(device_type=\"cuda\")",
        }),
        OldName("torch.autograd.Variable", "torch 0.4", words="a tensor is a Variable itself: write x, or x.detach() "
                "where x has a graph", call="bare", safe=False),
        *_rows("torch 1.0", "torch.nn.", """init.uniform=~init.uniform_ init.normal=~init.normal_
            init.constant=~init.constant_ init.eye=~init.eye_ init.dirac=~init.dirac_ init.sparse=~init.sparse_
            init.xavier_uniform=~init.xavier_uniform_ init.xavier_normal=~init.xavier_normal_
            init.kaiming_uniform=~init.kaiming_uniform_ init.kaiming_normal=~init.kaiming_normal_
            init.orthogonal=~init.orthogonal_ utils.clip_grad_norm=~utils.clip_grad_norm_ NLLLoss2d=~NLLLoss
            functional.upsample=~functional.interpolate"""),
        *_in_words("torch 1.0", "torch.nn.functional.", {
            "upsample_bilinear": "write F.interpolate(x, ..., mode=\"bilinear\", align_corners=True)",
        }),
        *_rows("torch 1.7", "torch.", "ger=~outer"),
        OldName("torch.chain_matmul", "torch 1.9", "torch.linalg.multi_dot", call="listed"),
        OldName("torch.range", "torch 0.4", "torch.arange", words="write torch.arange, whose end is left out",
                call="arange"),
        *_in_words("torch 1.9", "torch.", {
            "lu": "write torch.linalg.lu_factor(A)",
            "lu_solve": "write torch.linalg.lu_solve(LU, pivots, B)",
            "triangular_solve": "write torch.linalg.solve_triangular(A, B, upper=...)",
        }),
        *_in_words("torch 1.12", "torch.testing.", {
            "assert_allclose": "write torch.testing.assert_close(...), which looks at the dtype as well",
        }),
        *_in_words("torch 2.0", "torch.nn.utils.", {
            "weight_norm": "write torch.nn.utils.parametrizations.weight_norm(...), whose checkpoints have other keys",
        }),
        *_in_words("torch 2.1", "torch.", {
            "set_default_tensor_type": "write torch.set_default_dtype(...) and torch.set_default_device(...)",
        }),
        *_in_words("torch 2.3", "torch.backends.cuda.", {
            "sdp_kernel": "write torch.nn.attention.sdpa_kernel([SDPBackend...])",
        }),
        *_rows("torch 1.4", "torch.cuda.",
               "memory_cached=~memory_reserved max_memory_cached=~max_memory_reserved"),
        *_moved("private; torch 1.11 has a public one", "torch.utils.data._utils.collate.", "torch.utils.data.",
                "default_collate default_convert"),
        *_rows("torch 2.2", "torch.", """utils._pytree._register_pytree_node=~utils._pytree.register_pytree_node
            distributed._all_gather_base=~distributed.all_gather_into_tensor
            distributed._reduce_scatter_base=~distributed.reduce_scatter_tensor
            distributed.reduce_op=~distributed.ReduceOp
            distributed.checkpoint.save_state_dict=~distributed.checkpoint.save
            distributed.checkpoint.load_state_dict=~distributed.checkpoint.load"""),
        *_moved("torch 2.0", "functorch.", "torch.func.",
            "vmap grad vjp jvp jacrev jacfwd hessian functionalize grad_and_value"),
        *_in_words("torch 2.0", "functorch.", {
            "make_functional": "write torch.func.functional_call(model, parameters, inputs)",
            "make_functional_with_buffers": "write torch.func.functional_call(model, (parameters, buffers), inputs)",
            "combine_state_for_ensemble": "write torch.func.stack_module_state(models)",
        }),
        *_rows("torch 2.0", "torch.nn.utils.stateless.", "functional_call=torch.func.functional_call"),
        *_rows("torch 1.13", "torch.", "has_cuda=~backends.cuda.is_built() has_mps=~backends.mps.is_built() "
               "has_cudnn=~backends.cudnn.is_available() has_mkldnn=~backends.mkldnn.is_available()"),
        *_in_words("torchvision 0.16", "torchvision.transforms.v2.", {
            "ToTensor": "write v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])",
        }),
        *_rows("NumPy 2.0", "numpy.", "row_stack=~vstack"),
        *_in_words("NumPy 1.11", "numpy.random.", {
            "random_integers": "write np.random.randint(low, high + 1)",
        }),
    )
}  # fmt: skip

#: the documentation alone calls these old; nothing warns
DOCUMENTED: dict[str, OldName] = {
    row.name: row
    for row in (
        *_rows("torch 1.7", "torch.", "norm=~linalg.norm", safe=False),
        *_in_words("torch 1.7", "torch.", {"svd": "write torch.linalg.svd(A), which answers the adjoint of V"}),
        *_in_words("torch 0.4", "torch.nn.", {
            "UpsamplingNearest2d": "write nn.Upsample(..., mode=\"nearest\")",
            "UpsamplingBilinear2d": "write nn.Upsample(..., mode=\"bilinear\", align_corners=True)",
        }),
    )
}  # fmt: skip
