//! Integration tests in one program (linking FAISS, polars and tract once). A table of contents:

mod bad_input;
mod command_line;
mod datasets;
mod embeddings;
mod images;
mod models;
mod search;
mod tools;
