//! A tensor of the state on its way between graph, device and file.

use ndarray::Array2;
use ort::memory::{AllocationDevice, Allocator};
use ort::value::{DynTensor, DynValue, PrimitiveTensorElementType, Tensor as OrtTensor, TensorElementType};
use pdloss::graph::build::Element;
use pdloss::graph::proto::TensorProto;
use safetensors::Dtype;

/// Name, type, shape, and little-endian bytes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) element: Element,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

impl Tensor {
    /// Out of an initializer.
    ///
    /// # Errors
    /// A sentence naming the tensor, where its type is none that a state has.
    pub(crate) fn of_proto(proto: &TensorProto) -> Result<Self, String> {
        let name = proto.name().to_owned();
        let element = Element::from_code(proto.data_type()).ok_or_else(|| {
            format!("tensor '{name}' has element type {}; wanted float or integer", proto.data_type())
        })?;
        let shape: Vec<usize> = proto.dims.iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
        let bytes = match (&proto.raw_data, element) {
            (Some(raw), _) => raw.clone(),
            (None, Element::F32) => proto.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            (None, Element::F64) => proto.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            (None, Element::I64) => proto.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
            (None, _) => proto.int32_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        };
        Self::new(name, element, shape, bytes)
    }

    /// Out of its parts.
    ///
    /// # Errors
    /// A sentence naming the tensor, where the bytes do not fill the shape.
    pub(crate) fn new(name: String, element: Element, shape: Vec<usize>, bytes: Vec<u8>) -> Result<Self, String> {
        let wanted = shape.iter().product::<usize>() * size(element);
        if bytes.len() != wanted {
            return Err(format!("tensor '{name}' of shape {shape:?} has {} bytes; wanted {wanted}", bytes.len()));
        }
        Ok(Self { name, element, shape, bytes })
    }

    /// Takes these values, in its own type.
    pub(crate) fn set(&mut self, values: &Array2<f32>) {
        self.shape = values.shape().to_vec();
        self.bytes = match self.element {
            Element::F64 => values.iter().flat_map(|&value| f64::from(value).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        };
    }

    /// Bytes of one number.
    pub(crate) fn size_of_number(&self) -> usize {
        size(self.element)
    }

    /// As an initializer.
    pub(crate) fn to_proto(&self) -> TensorProto {
        TensorProto {
            name: Some(self.name.clone()),
            data_type: Some(self.element.code()),
            dims: self.shape.iter().map(|&d| d as i64).collect(),
            raw_data: Some(self.bytes.clone()),
            ..TensorProto::default()
        }
    }

    /// As onnxruntime takes it, in memory of its own on the processor, so that it can be bound as an output, too.
    pub(crate) fn to_value(&self) -> ort::Result<DynValue> {
        fn values<T: PrimitiveTensorElementType + Clone + std::fmt::Debug + 'static, const N: usize>(
            tensor: &Tensor,
            of: fn([u8; N]) -> T,
        ) -> ort::Result<DynValue> {
            let mut value = OrtTensor::<T>::new(&Allocator::default(), tensor.shape.clone())?;
            let (_, values) = value.extract_tensor_mut();
            for (value, &bytes) in values.iter_mut().zip(tensor.bytes.as_chunks::<N>().0) {
                *value = of(bytes);
            }
            Ok(value.into_dyn())
        }
        match self.element {
            Element::F32 => values(self, f32::from_le_bytes),
            Element::F64 => values(self, f64::from_le_bytes),
            Element::I64 => values(self, i64::from_le_bytes),
            Element::I32 => values(self, i32::from_le_bytes),
            Element::Bool => Err(ort::Error::new(format!("tensor '{}' is bool, which no state is", self.name))),
        }
    }

    /// Out of a value on any device.
    ///
    /// # Errors
    /// What onnxruntime says of the copy; a type that no state has.
    pub(crate) fn of_value(name: &str, value: &DynValue) -> ort::Result<Self> {
        let value = value.view().downcast::<ort::value::DynTensorValueType>()?;
        let here: Option<DynTensor> =
            if value.memory_info().is_cpu_accessible() { None } else { Some(value.to(AllocationDevice::CPU, 0)?) };
        let value: &DynTensor = here.as_ref().unwrap_or(&value);
        fn bytes<T: Copy, const N: usize>(values: &[T], to: fn(T) -> [u8; N]) -> Vec<u8> {
            values.iter().flat_map(|&v| to(v)).collect()
        }
        let shape: Vec<usize> = value.shape().iter().map(|&d| usize::try_from(d).unwrap_or(0)).collect();
        let (element, bytes) = match *value.data_type() {
            TensorElementType::Float32 => (Element::F32, bytes(value.try_extract_tensor()?.1, f32::to_le_bytes)),
            TensorElementType::Float64 => (Element::F64, bytes(value.try_extract_tensor()?.1, f64::to_le_bytes)),
            TensorElementType::Int64 => (Element::I64, bytes(value.try_extract_tensor()?.1, i64::to_le_bytes)),
            TensorElementType::Int32 => (Element::I32, bytes(value.try_extract_tensor()?.1, i32::to_le_bytes)),
            other => return Err(ort::Error::new(format!("tensor '{name}' came as {other}, which no state is"))),
        };
        Self::new(name.to_owned(), element, shape, bytes).map_err(ort::Error::new)
    }

    /// Its type in a safetensors file.
    pub(crate) fn dtype(&self) -> Dtype {
        match self.element {
            Element::F32 => Dtype::F32,
            Element::F64 => Dtype::F64,
            Element::I64 => Dtype::I64,
            Element::I32 => Dtype::I32,
            Element::Bool => Dtype::BOOL,
        }
    }
}

fn size(element: Element) -> usize {
    match element {
        Element::F32 | Element::I32 => 4,
        Element::F64 | Element::I64 => 8,
        Element::Bool => 1,
    }
}
