//! Element types and shapes of every value in a graph.
//!
//! A length that is not known stays a name: the batch keeps its own, others get `?1`, `?2`, ... Equal names mean equal
//! lengths, different names mean nothing. Small integer tensors (shapes, axes, indices) carry their values along, so
//! that `Shape -> Gather -> Concat -> Reshape` is followed through. Operators without a rule give values of which nothing
//! is known, unless the model declares them.

pub(crate) mod dims;
pub(crate) mod einsum;
mod elementwise;
pub(crate) mod layout;
mod linear;
pub(crate) mod reduction;
pub(crate) mod resample;
pub(crate) mod slice;
mod table;
mod value;
pub(crate) mod window;

use std::collections::HashMap;

use super::{
    Error, Result,
    build::{Dim, Element, declared},
    literal,
    proto::{ModelProto, NodeProto, TensorProto},
};

/// The longest integer tensor whose values are followed.
const FOLLOWED: usize = 64;

/// What is wrong with a tensor that no memory holds.
const TOO_MANY: &str = "more than 2^63 elements";

/// Refuses shapes whose known lengths multiply to more than any memory holds: what is computed from the others cannot
/// overflow then.
fn bounded(shape: Option<&[Dim]>) -> Result<(), String> {
    let known = |dim: &Dim| if let Dim::Known(length) = dim { Some(*length) } else { None };
    // A length of 0 hides the others in the product, but not from the operators that follow.
    let lengths: Vec<usize> = shape.unwrap_or_default().iter().filter_map(known).filter(|&length| length > 0).collect();
    match literal::count(&lengths) {
        Some(_) => Ok(()),
        None => Err(format!("its result of shape {} has {TOO_MANY}", dims::show(shape.unwrap_or_default()))),
    }
}

/// One element of an integer tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// This number.
    Int(i64),
    /// The length of that name.
    Length(String),
    /// Anything.
    Unknown,
}

/// What is known about a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fact {
    /// The element type; `None` where it is not known, or not one of [`Element`].
    pub element: Option<Element>,
    /// The lengths; no [`Dim::Unknown`] among them. `None` where not even the rank is known.
    pub shape: Option<Vec<Dim>>,
    /// The elements of a short integer tensor of rank 0 or 1.
    pub value: Option<Vec<Scalar>>,
}

/// Types and shapes of a graph's values, by name.
#[derive(Clone, Debug, Default)]
pub struct Shapes {
    facts: HashMap<String, Fact>,
    /// The values of short constants of floating-point numbers.
    numbers: HashMap<String, Vec<f64>>,
    /// The elements of small matrices of integers.
    tables: HashMap<String, Vec<Scalar>>,
    declared: HashMap<String, Fact>,
    unknowns: usize,
}

impl Shapes {
    /// Follows types and shapes through the model's main graph.
    ///
    /// # Errors
    /// When a node's inputs contradict each other.
    pub fn of(model: &ModelProto) -> Result<Self> {
        let Some(graph) = &model.graph else { return Err(Error::model("model", "it has no graph")) };
        let mut shapes = Self::default();
        for tensor in &graph.initializer {
            shapes.constant(tensor)?;
        }
        // From the 4th version of the format on, an initializer that is also an input is only that input's default.
        let overridable = model.ir_version() >= 4;
        for input in &graph.input {
            let Some((element, shape)) = declared(input) else { continue };
            bounded(shape.as_deref()).map_err(|reason| Error::model(input.name(), reason))?;
            if shapes.facts.contains_key(input.name()) && !overridable {
                continue;
            }
            let shape = shape.map(|shape| shapes.name_unknowns(shape));
            shapes.numbers.remove(input.name());
            shapes.facts.insert(input.name().to_owned(), Fact { element: Some(element), shape, value: None });
        }
        for value in graph.value_info.iter().chain(&graph.output) {
            if let Some((element, shape)) = declared(value) {
                bounded(shape.as_deref()).map_err(|reason| Error::model(value.name(), reason))?;
                let fact = Fact { element: Some(element), shape, value: None };
                shapes.declared.insert(value.name().to_owned(), fact);
            }
        }
        for node in &graph.node {
            shapes.add(node)?;
        }
        Ok(shapes)
    }

    /// What is known about a value; `None` for names that the graph has not.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Fact> {
        self.facts.get(name)
    }

    /// A value's lengths, where its rank is known.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[Dim]> {
        self.get(name)?.shape.as_deref()
    }

    /// A value's element type, where it is known.
    #[must_use]
    pub fn element(&self, name: &str) -> Option<Element> {
        self.get(name)?.element
    }

    /// The integers of a constant tensor of rank 0 or 1, where all of them are known.
    #[must_use]
    pub fn integers(&self, name: &str) -> Option<Vec<i64>> {
        let known = |scalar: &Scalar| if let Scalar::Int(value) = scalar { Some(*value) } else { None };
        self.get(name)?.value.as_ref()?.iter().map(known).collect()
    }

    /// The values of a short constant of floating-point numbers.
    pub(crate) fn numbers(&self, name: &str) -> Option<&[f64]> {
        self.numbers.get(name).map(Vec::as_slice)
    }

    /// Notes a constant.
    ///
    /// # Errors
    /// When its lengths multiply to more than any memory holds.
    pub(crate) fn constant(&mut self, tensor: &TensorProto) -> Result<()> {
        let Some(lengths) = literal::lengths(tensor) else { return Ok(()) };
        let Some(count) = literal::count(&lengths) else {
            return Err(Error::model(tensor.name(), format!("its shape {lengths:?} has {TOO_MANY}")));
        };
        if let Some(stored) = literal::stored(tensor).filter(|&stored| stored != count) {
            let reason = format!("its shape {lengths:?} wants {count} elements, its data has {stored}");
            return Err(Error::model(tensor.name(), reason));
        }
        let short = lengths.len() <= 1 && count <= FOLLOWED;
        let integers = if short { literal::integers(tensor) } else { None };
        let fact = Fact {
            element: Element::from_code(tensor.data_type()),
            shape: Some(lengths.into_iter().map(Dim::Known).collect()),
            value: integers.map(|values| values.into_iter().map(Scalar::Int).collect()),
        };
        if let Some(numbers) = literal::numbers(tensor).filter(|_| count <= FOLLOWED) {
            self.numbers.insert(tensor.name().to_owned(), numbers);
        }
        self.facts.insert(tensor.name().to_owned(), fact);
        Ok(())
    }

    /// Follows one node whose inputs are known already.
    pub(crate) fn add(&mut self, node: &NodeProto) -> Result<()> {
        if let Some(tensor) = literal::of_node(node) {
            return self.constant(&tensor);
        }
        let facts = infer(self, node).map_err(|reason| Error::model(node.label(), reason))?;
        let mut facts = facts.into_iter();
        for name in &node.output {
            let mut fact = facts.next().unwrap_or_default();
            if let Some(said) = self.declared.get(name) {
                fact.element = fact.element.or(said.element);
                fact.shape = fact.shape.or_else(|| said.shape.clone());
            }
            bounded(fact.shape.as_deref()).map_err(|reason| Error::model(node.label(), reason))?;
            fact.shape = fact.shape.map(|shape| self.name_unknowns(shape));
            if !name.is_empty() {
                self.facts.insert(name.clone(), fact);
            }
        }
        if let (Some(elements), Some(name)) = (table::follow(self, node), node.made(0)) {
            match self.facts.get_mut(name).map(|fact| (fact.shape.as_ref().map(Vec::len), fact)) {
                Some((Some(0 | 1), fact)) => fact.value = Some(elements),
                _ => drop(self.tables.insert(name.to_owned(), elements)),
            }
        }
        Ok(())
    }

    /// Notes what is known about a value.
    pub(crate) fn set(&mut self, value: &str, fact: Fact) {
        self.facts.insert(value.to_owned(), fact);
    }

    /// Notes that a value has the shape of another.
    pub(crate) fn assume_like(&mut self, value: &str, like: &str) {
        let shape = self.shape(like).map(<[Dim]>::to_vec);
        if let (Some(fact), Some(shape)) = (self.facts.get_mut(value), shape) {
            fact.shape = Some(shape);
        }
    }

    /// Every unknown length under a name of its own.
    fn name_unknowns(&mut self, mut shape: Vec<Dim>) -> Vec<Dim> {
        for dim in shape.iter_mut().filter(|dim| matches!(dim, Dim::Unknown)) {
            self.unknowns += 1;
            *dim = Dim::Named(format!("?{}", self.unknowns));
        }
        shape
    }

    /// What is known about a node's input; nothing where it is left out.
    fn of_input(&self, node: &NodeProto, index: usize) -> Fact {
        node.given(index).and_then(|name| self.get(name)).cloned().unwrap_or_default()
    }

    /// Integers that newer operators take as an input and older ones as an attribute.
    pub(crate) fn setting(&self, node: &NodeProto, index: usize, attribute: &str) -> Option<Vec<i64>> {
        match node.given(index) {
            Some(name) => self.integers(name),
            None => node.ints(attribute).map(<[i64]>::to_vec),
        }
    }
}

/// The outputs' facts, or why the inputs contradict each other.
fn infer(shapes: &Shapes, node: &NodeProto) -> Result<Vec<Fact>, String> {
    if node.domain() == "com.microsoft" && node.op_type() == "FusedMatMul" {
        return linear::fused_mat_mul(shapes, node);
    }
    if node.domain() == "com.microsoft" && node.op_type() == "Gelu" {
        return Ok(vec![Fact { value: None, ..shapes.of_input(node, 0) }]);
    }
    if node.domain() == super::head::DOMAIN {
        return Ok(linear::loss(shapes, node));
    }
    if !node.is_standard() {
        return Ok(Vec::new());
    }
    for family in [elementwise::infer, linear::infer, reduction::infer, layout::infer, resample::infer] {
        if let Some(facts) = family(shapes, node)? {
            return Ok(facts);
        }
    }
    Ok(Vec::new())
}

/// What a family of operators answers: `None` where the operator is none of its own.
type Inferred = Result<Option<Vec<Fact>>, String>;

/// A single output of this type and shape.
fn one(element: Option<Element>, shape: Option<Vec<Dim>>) -> Inferred {
    Ok(Some(vec![Fact { element, shape, value: None }]))
}

/// An axis counted from the front.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let counted = if axis < 0 { axis + i64::try_from(rank).ok()? } else { axis };
    usize::try_from(counted).ok().filter(|&axis| axis < rank)
}
