//! Files of tensors (safetensors) that are not in memory as a whole: written behind their head block by block, read by their header.

use std::borrow::Cow;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::{Dtype, Metadata, TensorInfo, View};

use crate::error::{Error, Result};
use crate::files::open_file;

/// A tensor of a safetensors file. Where it has no data, its bytes are written behind the head of the file by themselves: in the order of
/// types, the widest first, then of names.
#[derive(Clone, Debug)]
pub struct TensorPart {
    /// Type of its numbers.
    pub dtype: Dtype,
    /// Lengths of its axes.
    pub shape: Vec<usize>,
    /// Its bytes, or none.
    pub data: Vec<u8>,
}

impl View for TensorPart {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.data)
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * self.dtype.bitsize() / 8
    }
}

/// A safetensors file that is open, its header read and as long as the file has it.
#[derive(Debug)]
pub struct OpenTensors {
    file: File,
    /// Where the bytes of the first tensor are.
    start: u64,
    /// What it holds.
    pub header: Metadata,
}

impl OpenTensors {
    /// Reads the header alone.
    ///
    /// # Errors
    /// [`Error::File`] where it cannot be read, [`Error::Data`] where it is not `what`.
    pub fn new(path: &Path, what: &str) -> Result<Self> {
        /// As the library has it.
        const LONGEST: u64 = 100_000_000;
        let mut file = open_file(path)?;
        let wrong = |e: &dyn std::fmt::Display| Error::data(path, format!("is no {what}: {e}"));
        let size = file.metadata().map_err(|e| Error::read(path, e))?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|e| wrong(&e))?;
        let length = u64::from_le_bytes(length);
        if length > LONGEST || length + 8 > size {
            return Err(wrong(&format!("its header claims {length} bytes, the file has {size}")));
        }
        let mut bytes = Vec::new();
        file.by_ref().take(length).read_to_end(&mut bytes).map_err(|e| wrong(&e))?;
        let header: Metadata = serde_json::from_slice(&bytes).map_err(|e| wrong(&e))?;
        let (start, claimed) = (8 + length, header.data_len() as u64);
        if start.checked_add(claimed) != Some(size) {
            return Err(wrong(&format!("its tensors take {claimed} bytes, {} follow its header", size - start)));
        }
        Ok(Self { file, start, header })
    }

    /// Some bytes of a tensor, from its byte `first` on.
    ///
    /// # Errors
    /// Those of the file.
    pub fn read(&mut self, tensor: &TensorInfo, first: usize, count: usize) -> std::io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(self.start + (tensor.data_offsets.0 + first) as u64))?;
        let mut bytes = vec![0; count];
        self.file.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// All bytes of a tensor.
    ///
    /// # Errors
    /// Those of the file.
    pub fn read_all(&mut self, tensor: &TensorInfo) -> std::io::Result<Vec<u8>> {
        self.read(tensor, 0, tensor.data_offsets.1 - tensor.data_offsets.0)
    }

    /// Where in the file a tensor's first byte is.
    pub fn place(&self, tensor: &TensorInfo) -> u64 {
        self.start + tensor.data_offsets.0 as u64
    }

    /// The file, at a tensor's first byte.
    ///
    /// # Errors
    /// Those of the file.
    pub fn at(&mut self, tensor: &TensorInfo) -> std::io::Result<&mut File> {
        self.file.seek(SeekFrom::Start(self.place(tensor)))?;
        Ok(&mut self.file)
    }
}
