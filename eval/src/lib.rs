//! Evaluation of embedders.
