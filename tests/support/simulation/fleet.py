"""A fleet that exists nowhere: models, machines and frameworks for simulated results.

Every name begins with `simulated/`, so that nothing made from it can be taken for a measurement.
Sizes are those of real models, machines those that hold them in 16 bits. Memory and bandwidth of a
GPU are those of the shipped catalog, its arithmetic is the makers' dense BF16 figure.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Final

MODELS: Final = 100


@dataclass(frozen=True, slots=True)
class Hardware:
    """A machine; what is said of memory, bandwidth and arithmetic is said of one of its GPUs."""

    gpu_type: str
    gpu_count: int
    vram_gb: int
    bandwidth_tb_s: float
    bf16_tflops: float

    @property
    def name(self) -> str:
        """Its name in the catalog."""
        return f"simulated/{self.gpu_type.lower()}-{self.gpu_count}"


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework, and the time it takes for what another one does in 1."""

    name: str
    version: str
    slowness: float


@dataclass(frozen=True, slots=True)
class Workload:
    """A kind of traffic with its nominal lengths in tokens."""

    name: str
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Model:
    """A model, which is published in every one of QUANTIZATIONS."""

    number: int
    billions: int
    hardware: Sequence[Hardware]

    @property
    def name(self) -> str:
        """Its name in the catalog."""
        return f"simulated/model-{self.number:03}-{self.billions}b"


@dataclass(frozen=True, slots=True)
class Configuration:
    """One thing that is measured over and over, apart from its model."""

    quantization: str
    hardware: Hardware
    framework: Framework
    workload: Workload
    concurrency: int


# Bits of a weight.
QUANTIZATIONS: Final = {"bf16": 16, "fp8": 8, "int4": 4}
FRAMEWORKS: Final = (
    Framework("simulated/vllm", "0.11.0", 1.0),
    Framework("simulated/sglang", "0.5.3", 0.94),
)
WORKLOADS: Final = (
    Workload("chatbot", 512, 256),
    Workload("code_generation", 1024, 1024),
    Workload("rag", 4096, 512),
    Workload("long_document_summarization", 10_240, 1536),
)
CONCURRENCIES: Final = (1, 2, 4, 8, 16, 32, 64, 128)

_GPUS: Final = {
    "L4-24GB": (24, 0.3, 121),
    "L40S-48GB": (48, 0.864, 362),
    "A100-80GB": (80, 2.039, 312),
    "H100-80GB": (80, 3.35, 989),
    "H200-141GB": (141, 4.8, 989),
    "B200-180GB": (180, 7.7, 2250),
    "MI300X-192GB": (192, 5.3, 1307),
}
_L4, _L40S, _A100, _H100, _H200, _B200, _MI300X = _GPUS
_SMALL: Final = ((_L4, 1), (_L40S, 1), (_A100, 1), (_H100, 1), (_H200, 1))
# Five machines for each size, in billions of parameters.
_MACHINES: Final = {
    1: _SMALL,
    3: _SMALL,
    8: _SMALL,
    14: ((_L40S, 1), (_A100, 1), (_H100, 1), (_H200, 1), (_MI300X, 1)),
    32: ((_A100, 1), (_H100, 1), (_H200, 1), (_MI300X, 1), (_H100, 2)),
    70: ((_A100, 4), (_H100, 4), (_H200, 2), (_MI300X, 1), (_H100, 8)),
    120: ((_A100, 4), (_H100, 4), (_H200, 4), (_MI300X, 2), (_B200, 2)),
}


def models(count: int = MODELS) -> list[Model]:
    """The first `count` models; sizes come in turn."""
    sizes = list(_MACHINES)
    return [
        Model(number, sizes[number % len(sizes)], machines(sizes[number % len(sizes)]))
        for number in range(count)
    ]


def machines(billions: int) -> tuple[Hardware, ...]:
    """The machines that models of a size run on."""
    return tuple(Hardware(gpu, count, *_GPUS[gpu]) for gpu, count in _MACHINES[billions])


def configurations(model: Model) -> list[Configuration]:
    """The 960 configurations of a model, each at another load or length, or on other means."""
    return [
        Configuration(*parts)
        for parts in product(QUANTIZATIONS, model.hardware, FRAMEWORKS, WORKLOADS, CONCURRENCIES)
    ]
