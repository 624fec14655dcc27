"""The engines that a flow compares with the golden model: adding one is adding it to :data:`ENGINES`."""

from xnorflow.flows.kind import EngineKind
from xnorflow.flows.kinds.hls4ml import PACKED, STOCK
from xnorflow.flows.kinds.keras import KERAS
from xnorflow.flows.kinds.netlist import NETLIST
from xnorflow.flows.kinds.pytorch import PYTORCH
from xnorflow.flows.kinds.qonnx import ONNX, QONNX
from xnorflow.flows.kinds.rtl import CXXRTL, ICARUS
from xnorflow.flows.kinds.vitis import VITIS

ENGINES: tuple[EngineKind, ...] = (PYTORCH, KERAS, ONNX, QONNX, STOCK, PACKED, ICARUS, CXXRTL, NETLIST, VITIS)
