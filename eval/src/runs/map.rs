//! Where each image of a recall run lies in the plane in which the embeddings are spread most, and in a layout by t-SNE.

use std::path::Path;

use polars::prelude::Column;

use crate::Result;
use crate::metrics::projection::principal;
use crate::metrics::tsne::layout;
use crate::table::parquet::{self as table, Table};
use pdloss_embed::embeddings::Embeddings;

const MAP: &str = "map.parquet";

/// The images of a run, in order.
#[derive(Clone, Debug, PartialEq)]
pub struct Map {
    /// Queries and gallery.
    pub places: Vec<Place>,
    /// The part of all variance that is in the plane.
    pub share: f64,
}

/// An image and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// The image's name.
    pub name: String,
    /// Its class.
    pub class: String,
    /// Along the first principal component.
    pub x: f64,
    /// Along the second.
    pub y: f64,
    /// Its place in a layout by t-SNE, where one was made and it is among the images of it.
    pub tsne: Option<[f64; 2]>,
}

/// Which maps are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Layout {
    /// The plane of the first two principal components
    Pca,
    /// And t-SNE, of up to 1,500 images, in which near ones stay near
    Tsne,
}

impl Map {
    /// The map of embeddings, of their directions where `unit`; `None` where all are alike.
    pub fn of(embeddings: &Embeddings, unit: bool, wanted: Layout) -> Option<Self> {
        let plane = principal(embeddings, unit)?;
        let place = |(row, [x, y]): (&pdloss_embed::embeddings::Row, [f64; 2])| Place {
            name: row.name.clone(),
            class: embeddings.classes[row.class].clone(),
            x,
            y,
            tsne: None,
        };
        let laid_out = if wanted == Layout::Tsne { layout(embeddings, unit, &plane.points) } else { None };
        let mut places: Vec<Place> = embeddings.rows.iter().zip(plane.points).map(place).collect();
        for (row, at) in laid_out.into_iter().flatten() {
            places[row].tsne = Some(at);
        }
        Some(Self { places, share: plane.share })
    }

    /// Whether there is a layout by t-SNE.
    pub fn has_tsne(&self) -> bool {
        self.places.iter().any(|place| place.tsne.is_some())
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let places = &self.places;
        let columns = vec![
            Column::new("name".into(), places.iter().map(|p| p.name.as_str()).collect::<Vec<_>>()),
            Column::new("class".into(), places.iter().map(|p| p.class.as_str()).collect::<Vec<_>>()),
            Column::new("x".into(), places.iter().map(|p| p.x).collect::<Vec<_>>()),
            Column::new("y".into(), places.iter().map(|p| p.y).collect::<Vec<_>>()),
            Column::new("share".into(), vec![self.share; places.len()]),
            Column::new("tsne_x".into(), places.iter().map(|p| p.tsne.map(|at| at[0])).collect::<Vec<_>>()),
            Column::new("tsne_y".into(), places.iter().map(|p| p.tsne.map(|at| at[1])).collect::<Vec<_>>()),
        ];
        table::write(&folder.join(MAP), columns)
    }

    pub(super) fn is_in(folder: &Path) -> bool {
        folder.join(MAP).is_file()
    }

    pub(super) fn read(folder: &Path) -> Result<Self> {
        let table = Table::read(folder.join(MAP))?;
        let (names, classes) = (table.words("name")?, table.words("class")?);
        let (xs, ys, shares) = (table.reals("x")?, table.reals("y")?, table.reals("share")?);
        // Earlier versions had no other layout.
        let other = |name: &str| if table.has(name) { table.some_reals(name) } else { Ok(vec![None; names.len()]) };
        let tsne = other("tsne_x")?.into_iter().zip(other("tsne_y")?).map(|(x, y)| Some([x?, y?]));
        let tsne: Vec<Option<[f64; 2]>> = tsne.collect();
        let places = names.into_iter().zip(classes).zip(xs.into_iter().zip(ys)).zip(tsne);
        Ok(Self {
            places: places.map(|(((name, class), (x, y)), tsne)| Place { name, class, x, y, tsne }).collect(),
            share: shares.first().copied().unwrap_or(f64::NAN),
        })
    }
}
