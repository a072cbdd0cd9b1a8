"""Whole networks as people write them: the healthy ones are silent, each fault planted in a sick one is found."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
MARK = re.compile(r"#\s*expect:\s*([A-Z0-9, ]+)")
#: what each network is fed: its input, or all options
NETWORKS: dict[str, dict[str, Any]] = {
    "generative": {
        "VAE": "784",
        "KLMonitor": "784",
        "GANGenerator": "100x1x1",
        "Discriminator": "3x64x64",
        "Pix2Pix": "3x64x64",
        "UNet": "3x64x64",
        "VQVAE": "3x32x32",
        "VQEMA": "3x32x32",
        "EDSR": "3x16x16",
        "LDMAutoencoder": "3x32x32",
        "Autoencoder": "784",
        "NeRF": "3",
        "PINN": "2",
        "HiFiGAN": "80x20",
        "MinibatchStd": "3x32x32",
        "DeepSupervision": "3x64x64",
    },
    "teachers": {
        "Siamese": {"input": ["1x28x28", "1x28x28"]},
        "FrozenHead": "3x64x64",
        "FrozenEval": "3x64x64",
        "EMA": "32",
        "EMAnoflag": "32",
        "GradReverse": "32",
        "SimSiam": {"input": ["32", "32"]},
        "BYOL": {"input": ["32", "32"]},
        "DINO": "32",
        "LoRA": "64",
        "CustomTransformer": "16:int64",
        "CaptionEncoder": "3x64x64",
        "DQN": "4",
        "CLIPLike": {"input": ["3x32x32", "16:int64"]},
        "LinearProbeDetach": "32",
        "PrefixTuning": "16:int64",
        "MoCo": {"input": ["3x32x32", "3x32x32"]},
        "Perceptual": "3x64x64",
        "FullPretrained": "3x64x64",
    },
    "sequences": {
        "Seq2Seq": {"input": ["12:int64", "10:int64"]},
        "Tied": "16:int64",
        "Attention": "16x64",
        "TransformerLM": "16:int64",
        "WithGenerate": "16:int64",
        "MaskEmbedding": "16x32",
        "ALBERT": "16x64",
        "Cache": "16x64",
        "CacheBuffer": "16x64",
        "LSTMNet": "16x32",
        "BiGRUAttention": "16x32",
        "FlattenedLM": "16:int64",
        "Conformer": "50x32",
        "DETRLike": "3x64x64",
        "RNNCellLoop": "16x32",
        "ConvLSTM": "5x3x16x16",
        "PositionBuffer": "16x64",
        "Highway": "32",
        "WindowAttn": "16x16x8",
    },
    "convolutional": {
        "MobileNet": "3x32x32",
        "ConvNeXt": "3x32x32",
        "PreAct": "3x32x32",
        "AuxHead": "3x32x32",
        "PyAnchors": "3x32x32",
        "MovedConstant": "3x32x32",
        "PatchRows": "3x32x32",
        "RetinaHead": "3x64x64",
        "FPN": "3x64x64",
        "SENet": "3x32x32",
        "GatedCNN": "32x20",
        "SqueezeStyle": {"input": "3x64x64", "loss": "cross_entropy", "classes": 10},
        "StochasticDepthNet": "3x32x32",
        "PointNet": "3x128",
        "ImagesInList": "3x32x32",
        "Capsule": "1x28x28",
        "Mixer": "3x32x32",
        "FeatureHook": "3x32x32",
        "ListFeatures": "3x32x32",
        "ConvMixer": "3x32x32",
        "MNISTExample": {"input": "1x28x28", "loss": "nll", "classes": 10},
        "TutorialNet": {"input": "3x32x32", "loss": "cross_entropy", "classes": 10},
        "LeNet": {"input": "1x32x32", "loss": "cross_entropy", "classes": 10},
    },
    "habits": {
        "MoE": "16x32",
        "LowRank": "64",
        "ReluRegression": "16",
        "ReluRegressionMSE": {"input": "16", "loss": "mse"},
        "CheckpointNet": "32",
        "CheckpointReentrant": "32",
        "WeightNorm": "3x16x16",
        "SpectralNorm": "3x16x16",
        "parallel": "32",
        "compiled": "32",
        "ComplexNet": "32",
        "WithLoss": "32",
        "DistributionOut": "32",
        "LogSigmaLoss": "32",
        "HyperNet": "16",
        "ActorCritic": "4",
        "Dueling": "4",
        "MultiTask": "32",
        "GCN": {"input": ["20x16", "20x20"]},
        "TemperatureParam": "32",
        "GumbelNet": "32",
        "HardAttentionST": "32",
        "Quantized": "32",
        "Lazy": "3x32x32",
        "SharedHeads": "32",
        "LateReturn": "32",
        "StoredLoss": "32",
        "DetachedLog": "32",
        "MonteCarloDropout": "32",
    },
    "alone/backbone": {
        "UnusedBackboneFc": "3x64x64",
    },
    "untrained": {
        "ReluLogits": {"input": "3x32x32", "loss": "cross_entropy"},
        "ReluLogitsBN": {"input": "32", "classes": 5},
        "ReluFunctional": {"input": "3x32x32", "loss": "cross_entropy"},
        "Unused": "3x32x32",
        "UnusedParam": "16x32",
        "Dropped": "3x32x32",
        "AllFrozen": "3x64x64",
        "BiasBN": "3x32x32",
        "ActNorm": "3x32x32",
        "Checker": "16x8x8",
        "NoGradEnc": "3x32x32",
        "NoGradDecorator": "3x32x32",
        "DetachMid": "3x32x32",
        "DataMid": "32",
        "Argmax": "32",
        "NumpyTrip": "32",
        "HardGate": "32",
        "WholeNoGrad": "32",
        "SetGrad": "32",
        "TensorCopy": "32",
        "CkptFirst": "32",
    },
    "refused": {
        "SmallMap": "3x30x30",
        "ViewOfPermuted": "3x32x32",
        "OwnKernel": "3x16x16",
        "DoubleInput": "12x16:float64",
        "SquareMap": "3x16x16",
        "PlainObject": "16",
    },
    "wired": {
        "PlainWeight": "32",
        "Scaled": "32",
        "CudaParam": "32",
        "ListWeights": "32",
        "MeanConst": "3x32x32",
        "MaskConst": "8x32",
        "NestedPos": "16x64",
        "Swallow": "3x32x32",
        "SwallowDeep": {"input": "3x64x64", "loss": "cross_entropy"},
        "Shared": "32",
        "SharedSeq": "16x8x8",
        "Oversized": "3x224x224",
        "NoAct": "32",
        "NoActDropout": "3x32x32",
        "NoActConv": "3x32x32",
        "BackboneTwice": "3x64x64",
        "Cuda": "32",
        "CudaForward": "32",
        "ReuseBN": "3x32x32",
        "ReuseBNNested": "3x32x32",
        "Misaligned": {"input": "3x64x64", "amp": True},
        "EncoderFrozenOwn": "3x32x32",
    },
}
#: said of healthy networks as an information
TOLD = {
    "MOD012": "a large part is frozen",
    "MOD014": "ConvMixer's own order",
    "MOD023": "a library's backbone under no_grad",
    "MOD030": "heads shared on purpose",
    "MOD036": "an encoder that several inputs share",
}


Found = list[tuple[str, str, int | None, str]]


def found_in(*themes: str) -> dict[str, dict[str, Found]]:
    """(code, severity, line, message) by theme and network."""
    requests = {
        f"{theme}.py": {
            name: options if isinstance(options, dict) else {"input": options}
            for name, options in NETWORKS[theme].items()
        }
        for theme in themes
    }
    run = subprocess.run(
        [sys.executable, HERE / "several.py", HERE / "networks", json.dumps(requests)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return {
        file.removesuffix(".py"): {name: [tuple(entry) for entry in entries] for name, entries in found.items()}
        for file, found in json.loads(run.stdout).items()
    }


def test_healthy_networks_are_silent() -> None:
    found = found_in("generative", "teachers", "sequences", "convolutional", "habits")
    everything = {name: entries for of_theme in found.values() for name, entries in of_theme.items()}
    left_in_train_mode = everything.pop("FrozenHead")
    assert {code for code, *_ in left_in_train_mode} == {"MOD012", "MOD028"}
    loud = {
        name: entries
        for name, entries in everything.items()
        if any(severity != "info" or code not in TOLD for code, severity, *_ in entries)
    }
    assert not loud


def test_each_planted_fault_is_found_at_its_line() -> None:
    for theme, found in found_in("untrained", "wired", "refused", "alone/backbone").items():
        lines = (HERE / "networks" / f"{theme}.py").read_text(encoding="utf-8").splitlines()
        marked = {
            (code.strip(), number)
            for number, line in enumerate(lines, 1)
            if (mark := MARK.search(line))
            for code in mark[1].split(",")
        }
        entries = [entry for of_network in found.values() for entry in of_network]
        assert {(code, line) for code, _, line, _ in entries if line is not None} == marked
        assert {code for code, _, line, _ in entries if line is None} <= {"MOD012"}
        if theme == "refused":
            told = " / ".join(message for *_, message in entries)
            for part in (
                "max_pool2d gets a map of 2 x 2, smaller than its kernel of 3",
                "view size is not compatible",
                "head declares 9 features, 8 arrive",
                "GRU(16, 8) gets float64 and its weights are float32",
                "norm declares 16 features, 32 arrive",
                "plane declares (8, 8) features, (16, 16) arrive",
                "expert is a plain object that holds Linear: 136 parameters",
            ):
                assert part in told
