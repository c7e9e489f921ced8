//! The loss of a step in parts, tile after tile of the batch's rows.

use super::{
    StepOptions,
    cut::{Cut, entering},
    loss::mean_cosine,
    memory::Bank,
    names,
};
use crate::graph::{
    Error, Result,
    build::{Dim, Element, declare, node},
    gradient, head,
    losses::Tiled,
    nodes::Nodes,
    proto::{GraphProto, ModelProto},
};

/// The sums of a tile.
const OWN: &str = "pdloss.tile.sums";

/// What a loss over pairs is computed with where nothing of `batch x batch` is to be formed: `sums` for each tile of rows, then the
/// step's graph `loss`, which takes [`names::TILE_SUMS`] and gives [`names::TILE_SUMS_GRADIENT`], then `backward` for each tile.
///
/// Both take [`names::EMBEDDINGS`] and labels of the batch, [`names::ROWS`] and [`names::ROW_LABELS`] of the tile, and
/// [`names::FIRST_ROW`], the place of its first row; and with a memory the state that it is. `remember` comes last: it makes the next
/// memory, which no tile may see.
#[derive(Clone, Debug)]
pub struct Tiles {
    /// Adds the tile to [`names::TILE_SUMS`].
    pub sums: ModelProto,
    /// Adds to [`names::EMBEDDINGS_GRADIENT`] what the tile gives to all rows, and makes [`names::ROWS_GRADIENT`], what it gives to
    /// its own beside that.
    pub backward: ModelProto,
    /// Puts the batch among what is remembered, where something is.
    pub remember: Option<ModelProto>,
    /// How many numbers [`names::TILE_SUMS`] are.
    pub length: usize,
}

/// The graphs of the loss in tiles, and the step's graph of the loss; `like` has the operators' versions.
pub(super) fn build(
    like: &ModelProto,
    options: &StepOptions,
    (element, dim): (Element, usize),
) -> Result<(Tiles, ModelProto)> {
    let no_rows = || {
        Error::model(
            format!("loss {}", options.loss.name()),
            "it does not follow from sums over the rows of a batch, so that it cannot be computed in tiles of them",
        )
    };
    let length = options.loss.sums_of_tile().ok_or_else(no_rows)?;
    let mut nodes = Nodes::new("pdloss.tile.", element, like.opset());
    let memory = options.memory.map(|memory| (Bank::read(&mut nodes, memory), memory.rows));
    let tiled = Tiled {
        embeddings: names::EMBEDDINGS,
        labels: names::LABELS,
        rows: names::ROWS,
        row_labels: names::ROW_LABELS,
        first: names::FIRST_ROW,
        remembered: memory.as_ref().map(|(bank, _)| bank.rows()),
    };
    let (sums, loss) = options.loss.write_tile(&mut nodes, &tiled).ok_or_else(no_rows)?;
    nodes.rename(sums, OWN);
    nodes.rename(loss, head::names::LOSS);
    let cosine = mean_cosine(&mut nodes, names::EMBEDDINGS, names::LABELS);
    nodes.rename(cosine, names::MEAN_COSINE);
    let (all, some) = (Dim::Named("batch".to_owned()), Dim::Named("rows".to_owned()));
    let matrix = |name: &str, rows: &Dim| declare(name, element, &[rows.clone(), Dim::Known(dim)]);
    let vector = |name: &str| declare(name, element, &[Dim::Known(length)]);
    let scalar = |name: &str| declare(name, element, &[]);
    let kept = memory.map(|(_, rows)| {
        [
            matrix(names::MEMORY_EMBEDDINGS, &Dim::Known(rows)),
            declare(names::MEMORY_LABELS, Element::I64, &[Dim::Known(rows)]),
            declare(names::MEMORY_COUNT, Element::I64, &[]),
            declare(names::STEP, Element::I64, &[]),
        ]
    });
    let mut graph = GraphProto {
        name: Some("tile".to_owned()),
        node: nodes.list,
        input: vec![
            matrix(names::EMBEDDINGS, &all),
            declare(names::LABELS, Element::I64, std::slice::from_ref(&all)),
            matrix(names::ROWS, &some),
            declare(names::ROW_LABELS, Element::I64, std::slice::from_ref(&some)),
            declare(names::FIRST_ROW, Element::I64, &[]),
        ],
        output: vec![scalar(head::names::LOSS)],
        ..GraphProto::default()
    };
    graph.input.extend(kept.into_iter().flatten());
    let mut model = ModelProto {
        ir_version: like.ir_version,
        opset_import: like.opset_import.clone(),
        graph: Some(graph),
        ..ModelProto::default()
    };
    let wanted = [names::ROWS, names::EMBEDDINGS, OWN];
    let found = gradient::differentiate_with(&mut model, head::names::LOSS, &wanted, options.operators)?;
    let [of_rows, of_all, of_sums] = found.as_slice() else { return Err(no_rows()) };
    let Some(graph) = model.graph.as_mut() else { return Err(no_rows()) };
    let enters = entering(graph, of_sums);
    let grown = matrix(&format!("{}.next", names::EMBEDDINGS_GRADIENT), &all);
    let added = vector(&format!("{}.next", names::TILE_SUMS));
    graph.node.push(node("Add", &[names::EMBEDDINGS_GRADIENT, of_all], &[grown.name()], Vec::new()));
    graph.node.push(node("Add", &[names::TILE_SUMS, OWN], &[added.name()], Vec::new()));
    graph.input.extend([matrix(names::EMBEDDINGS_GRADIENT, &all), vector(names::TILE_SUMS)]);

    let Some(graph) = model.graph.as_ref() else { return Err(no_rows()) };
    let cut = Cut::new(&model, graph, &[]);
    let sums = cut.out(&[], &[(added.name(), added.clone())]);
    let gradient = vector(names::TILE_SUMS_GRADIENT);
    let loss = cut.out(
        &[(OWN, vector(names::TILE_SUMS))],
        &[
            (head::names::LOSS, scalar(head::names::LOSS)),
            (names::MEAN_COSINE, scalar(names::MEAN_COSINE)),
            (of_sums, gradient.clone()),
        ],
    );
    let backward = cut
        .out(&[(&enters, gradient)], &[(grown.name(), grown.clone()), (of_rows, matrix(names::ROWS_GRADIENT, &some))]);
    Ok((Tiles { sums, backward, remember: None, length }, loss))
}
