"""The engines that a flow compares with the golden model: adding one is adding it to :data:`ENGINES`."""

from xnorflow.flows.kind import EngineKind
from xnorflow.flows.kinds.cxxrtl import CXXRTL
from xnorflow.flows.kinds.hls4ml import PACKED, STOCK
from xnorflow.flows.kinds.icarus import ICARUS
from xnorflow.flows.kinds.keras import KERAS
from xnorflow.flows.kinds.netlist import NETLIST
from xnorflow.flows.kinds.onnx import ONNX
from xnorflow.flows.kinds.pytorch import PYTORCH
from xnorflow.flows.kinds.qonnx import QONNX
from xnorflow.flows.kinds.vitis import VITIS

ENGINES: tuple[EngineKind, ...] = (PYTORCH, KERAS, ONNX, QONNX, STOCK, PACKED, ICARUS, CXXRTL, NETLIST, VITIS)
