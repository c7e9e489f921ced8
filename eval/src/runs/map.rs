//! Where each image of a recall run lies in the plane in which the embeddings are spread most.

use std::path::Path;

use polars::prelude::Column;

use crate::Result;
use crate::metrics::projection::principal;
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
}

impl Map {
    /// The map of embeddings, of their directions where `unit`; `None` where all are alike.
    pub fn of(embeddings: &Embeddings, unit: bool) -> Option<Self> {
        let plane = principal(embeddings, unit)?;
        let place = |(row, [x, y]): (&pdloss_embed::embeddings::Row, [f64; 2])| Place {
            name: row.name.clone(),
            class: embeddings.classes[row.class].clone(),
            x,
            y,
        };
        Some(Self { places: embeddings.rows.iter().zip(plane.points).map(place).collect(), share: plane.share })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let places = &self.places;
        let columns = vec![
            Column::new("name".into(), places.iter().map(|p| p.name.as_str()).collect::<Vec<_>>()),
            Column::new("class".into(), places.iter().map(|p| p.class.as_str()).collect::<Vec<_>>()),
            Column::new("x".into(), places.iter().map(|p| p.x).collect::<Vec<_>>()),
            Column::new("y".into(), places.iter().map(|p| p.y).collect::<Vec<_>>()),
            Column::new("share".into(), vec![self.share; places.len()]),
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
        let places = names.into_iter().zip(classes).zip(xs.into_iter().zip(ys));
        Ok(Self {
            places: places.map(|((name, class), (x, y))| Place { name, class, x, y }).collect(),
            share: shares.first().copied().unwrap_or(f64::NAN),
        })
    }
}
