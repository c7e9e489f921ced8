//! A run: what it starts from, and what is written at its start and end; on several ranks, of which each makes the same steps on its
//! rows of the batch, and the first one writes.

use std::collections::HashSet;
use std::io::Write;
use std::path::Path;

use pdloss::graph::head::names::PROXIES;
use pdloss::graph::proto::StringStringEntryProto;
use pdloss::graph::step::{Description, Kind};
use pdloss_embed::console::{Speech, inform, note};
use pdloss_embed::dataset::Trained;
use pdloss_embed::embedder::{Model, version};
use pdloss_embed::ranks::{agree, of_first, same, world};
use pdloss_embed::{Error, Result, process};

use crate::backbone::of_graph;
use crate::batches::sampler_of;
use crate::checkpoint::{Checkpoint, Counters};
use crate::cli::{Aim, FirstProxies};
use crate::events::Events;
use crate::find::{self, Search};
use crate::first::{as_it_begins, class_means, embedder_of, first_state};
use crate::folder::{MadeWith, Manifest, write_toml};
use crate::going_on::{OF_RUN, go_on, of_run, of_this_run, same_settings};
use crate::images::{Images, Preparation, Reading};
use crate::init;
use crate::metrics::{METRICS, Table, VALIDATION};
use crate::mining::{self, Mining};
use crate::monitor::Monitor;
use crate::objective::spelt;
use crate::overlap;
use crate::parts;
use crate::plan::{self, Plan};
use crate::probe::{Probe, unsteadiness};
use crate::record::Record;
use crate::rehearsal::{Rehearsal, Stage};
use crate::settings::Settings;
use crate::shards::Shards;
use crate::steps::Run;
use crate::summary;
use crate::trainer::Trainer;
use crate::validation::Validation;

/// Does what is planned, and writes what came of it to `stdout`.
///
/// # Errors
/// Whatever stops the run; its last checkpoint is then there to go on from.
pub(crate) fn run(plan: Plan, aim: Aim, stdout: &mut dyn Write) -> Result<()> {
    let Plan {
        settings,
        folder,
        begun,
        model,
        layout,
        data,
        validation,
        mut backbone,
        step,
        parameters,
        library,
        mut notes,
    } = plan;
    notes.iter().for_each(|line| note(line));
    process::set_threads(settings.threads);
    let is_ours = begun.is_some() && world().is_first();
    let mut lock = agree(if is_ours { folder.lock() } else { Ok(None) })?;
    alike(&settings, &model, &library)?;
    data.same_over_ranks()?;
    validation.as_ref().map_or(Ok(()), |validation| validation.data().same_over_ranks())?;
    let recipe = settings.preprocessing.clone();
    let size = recipe.output_size().ok_or_else(|| Error::Recipe("leaves the size of the images open".into()))?;
    let (part, classes, source) = (data.part.clone(), data.classes.len(), data.source.path().to_path_buf());
    let augment = settings.augmentation.clone();
    let preparation = Preparation { recipe, size, layout, augment, seed: settings.seed };
    let room = settings.cache.saturating_mul(1 << 20);
    let Reading { images, skipped, sha256, images_sha256, notes: of_files } =
        Images::read(data, preparation, room, settings.data.skip_bad)?;
    of_files.iter().for_each(|said| note(said));
    notes.extend(of_files);
    for reason in &skipped {
        note(&format!("skipped: {reason}"));
    }
    if !skipped.is_empty() {
        notes.push(format!("{} images that cannot be used are skipped (--skip-bad)", skipped.len()));
        notes.extend(parts::emptied(images.data()).inspect(|said| note(said)));
    }
    let apart = of_first(|| images_apart(&images, validation.as_ref(), &settings))?;
    let validation_sha256 = apart.as_ref().map(|(sha256, _)| sha256.clone());
    notes.extend(apart.and_then(|(_, shared)| shared));
    let sampler = sampler_of(images.data(), &settings)?;
    notes.extend(sampler.said(mining::source(&settings)).inspect(|said| note(said)));
    let steps = settings.length.steps(sampler.batches());
    notes.extend(of_average(&settings, steps).inspect(|said| note(said)));
    settings.schedule.check(steps)?;
    settings.optimizer.check(steps)?;
    settings.loss.check(steps)?;
    sampler.check(steps)?;
    notes.extend(idle_patience(&settings, steps).inspect(|said| note(said)));
    let (made, rate) = match aim {
        Aim::FindRate => find::pace(),
        _ => (format!("{steps} steps"), format!("learning rate {}", settings.schedule.learning_rate)),
    };
    let measured = validation.as_ref().map(Validation::data);
    for line in summary::header(&settings, images.data(), measured, &sampler, (&made, &rate)) {
        inform(&line);
    }
    summary::decay(&settings, step.described())
        .map_err(|e| of_graph(&settings.model, e))?
        .iter()
        .for_each(|line| inform(line));
    if Speech::now().settings {
        note(&format!("the step is {}; --inline spells it in standard operators", spelt(&step.models())));
    }
    // What is left out is a warning, which --quiet leaves.
    if parameters.is_partial() {
        note(&parameters.to_string())
    } else {
        inform(&parameters.to_string())
    }

    let description = Description::of(step.described()).map_err(|e| of_graph(&settings.model, e))?;
    let stays: HashSet<&str> = parameters.left.iter().map(|left| left.name.as_str()).collect();
    let weights = description.state.iter().filter(|of| of.kind == Kind::Weight && !stays.contains(of.name.as_str()));
    let memories = |weight: &str| {
        let of_weight =
            description.state.iter().filter(|of| of.kind == Kind::Optimizer && of.of.as_deref() == Some(weight));
        of_weight.map(|memory| memory.name.clone()).collect()
    };
    let weights: Vec<(String, Vec<String>)> = weights.map(|of| (of.name.clone(), memories(&of.name))).collect();
    let shards = Shards::of(&description, settings.shard_classes);
    let mut state = first_state(step.described(), &settings.model)?;
    let mut mining = Mining::new(&sampler, &description, classes);
    let own = state.len();
    state.extend(mining.iter().flat_map(Mining::state));
    let mut behind_state = settings.behind_state()?;
    let (mut last, mut counters) = (None, Counters::default());
    let mut init_sha256 = begun.as_ref().and_then(|begun| begun.init_sha256.clone());
    let mut said_of_settings = Vec::new();
    if of_first(|| Ok(begun.is_some() && folder.checkpoint().exists()))? {
        let checkpoint = Checkpoint::read(&folder.checkpoint(), &state, &shards)?;
        said_of_settings = of_first(|| {
            of_this_run(&folder.checkpoint(), &checkpoint.settings, begun.as_ref())?;
            same_settings(&folder, &checkpoint.settings, &behind_state)
        })?;
        (last, counters, state) = (Some(checkpoint.counters.step), checkpoint.counters, checkpoint.state);
    } else {
        if let Some(init) = &settings.init {
            let order = parts::order_sha256(images.data());
            let own = init::Own { settings: &settings, model_sha256: &model.sha256 };
            let taken = agree(init::put(init, own, &mut state, (&description, &backbone), &order, &shards))?;
            same("the checkpoint of --init-from", &taken.sha256)?;
            if let Some(before) = init_sha256.replace(taken.sha256.clone()) {
                plan::same("checkpoint of --init-from", &init.init_from, &before, &taken.sha256)?;
            }
            taken.said.iter().for_each(|said| note(said));
            notes.extend(taken.said);
        }
        if settings.first_proxies == FirstProxies::ClassMeans && aim != Aim::Rehearse {
            let (embedder, _folder) = agree(as_it_begins(&settings, &model, &backbone, &state))?;
            let means = class_means(&description, embedder, &images, &settings, &library, &shards)?;
            state.iter_mut().filter(|tensor| tensor.name == PROXIES).for_each(|tensor| tensor.set(&means));
        }
    }
    let of_mining = state.split_off(own);
    mining.as_mut().map_or(Ok(()), |mining| mining.put(&of_mining))?;
    let image = layout.axes(settings.preprocessing.color.channels(), size);
    if last.is_none() {
        let embedder = embedder_of(&settings, &backbone, &state)?;
        let unsteady = of_first(|| {
            unsteadiness(&embedder, (&settings.model, &settings.output), image, &settings.embedding(&library))
        })?;
        let of = if validation.is_some() { "validation: " } else { "" };
        let unsteady = unsteady.map(|said| format!("{of}{said}"));
        unsteady.iter().for_each(|said| note(said));
        notes.extend(unsteady);
    }
    let on = (settings.device, settings.threads);
    let trainer = Trainer::open(&settings.model, step, &state, &library, on, mining.is_some());
    let mut trainer = agree(trainer)?;
    drop(state);
    if !world().is_alone() {
        same("the state at the start", &trainer.digest(&shards)?)?;
    }
    let stage = || Stage { settings: &settings, images: &images, sampler: &sampler, image };
    if aim == Aim::FindRate {
        let search = Search { stage: stage(), out: folder.path() };
        return search.run(&mut trainer, stdout);
    }
    if aim == Aim::Rehearse {
        let rehearsal = Rehearsal { stage: stage(), steps };
        rehearsal.run(&mut trainer, stdout)?;
        note(
            "nothing was written (--dry-run); validation, checkpoints and images that --cache does not hold come on top",
        );
        return Ok(());
    }
    let made_with = MadeWith {
        program: concat!("pdloss ", env!("CARGO_PKG_VERSION")).into(),
        onnxruntime: version(&library)?,
        model_sha256: model.sha256,
        data_sha256: sha256,
        images_sha256: Some(images_sha256),
        list: settings.data.request().list().map(Path::to_owned),
        label: images.data().label.clone(),
        validation_label: validation.as_ref().and_then(|validation| validation.data().label.clone()),
        validation_sha256,
        part,
        images: images.data().items.len(),
        classes,
        class_order_sha256: Some(parts::order_sha256(images.data())),
        init_sha256,
        notes,
        parameters,
    };
    behind_state[OF_RUN] = of_run(&made_with);
    let validate_every = settings.validate_every(steps);
    let record = world().is_first().then(|| {
        // The embedder of a run that goes on tells what the first one told, also where that is gone.
        let own = begun.is_some().then(|| folder.embedder()).filter(|own| own.exists());
        let (key, value) = made_with.trained().entry(Trained::of(&own.unwrap_or_else(|| settings.first_net())));
        backbone.metadata_props.retain(|entry| entry.key() != key);
        backbone.metadata_props.push(StringStringEntryProto { key: Some(key), value: Some(value) });
        let guard = match &begun {
            Some(begun) => {
                said_of_settings.extend(go_on(begun, &made_with, &source, settings.validation.as_ref())?);
                parts::check_order(images.data(), begun.class_order_sha256.as_deref())?;
                said_of_settings.iter().try_for_each(|said| folder.record(said))?;
                folder.sweep()?;
                if last.is_none() {
                    note(&format!("{} is not there: the run begins anew", folder.checkpoint().display()));
                }
                None
            }
            None => Some(folder.begin(&Manifest { made_with, settings: settings.clone() })?),
        };
        if begun.is_none() {
            lock = folder.lock()?;
        }
        write_toml(&folder.preprocessing(), &settings.preprocessing)?;
        let events = |kind| settings.log_dir.as_deref().map(|folder| Events::create(folder, kind)).transpose();
        Ok(Record {
            probe: Probe::new(&images, &settings.output, settings.embedding(&library))?,
            behind_state,
            guard,
            saved: last,
            skipped: 0,
            batches: sampler.batches(),
            metrics: Table::open(&folder.metrics(), &METRICS, last)?.with(events("train")?),
            validations: Table::open(&folder.validation(), &VALIDATION, last)?.with(events("validation")?),
            monitor: Monitor::new(counters.step, steps, settings.batch),
            settings: settings.clone(),
            folder,
            weights,
            backbone,
        })
    });
    let record = agree(record.transpose())?;
    agree(record.as_ref().map_or(Ok(()), |record: &Record| record.has_best(&counters, false)))?;
    if let (Some(record), Some(last)) = (&record, last) {
        let lacks: [Option<String>; 2] = [
            record.metrics.lacks(last, "steps"),
            validation.as_ref().and_then(|_| record.validations.lacks(1 + last / validate_every, "validations")),
        ];
        for said in lacks.iter().flatten() {
            note(said);
            record.folder.record(said)?;
        }
    }
    let mut run =
        Run { image, mining, record, validation, settings, trainer, shards, steps, validate_every, counters, given: 0 };
    if last.is_none() {
        run.validate()?;
    }
    let before = run.counters.clone();
    run.train(&images, &sampler)?;
    if let (Some(said), Some(record)) = (run.of_patience(), &run.record) {
        record.monitor.aside(|| note(&said));
        record.folder.record(&said)?;
    }
    run.save(true)?;
    let made = (run.counters.step - run.counters.passed_over) - (before.step - before.passed_over);
    if let (false, Some(bytes)) = (world().is_alone(), run.given.checked_div(made)) {
        inform(&format!("each step gave {bytes} bytes of a rank to the exchanges between {} ranks", world().size()));
    }
    let Run { record, counters, settings, .. } = run;
    let Some(Record { folder, monitor, .. }) = record else { return Ok(()) };
    drop(monitor);
    drop(lock);
    summary::write(&folder, &counters, &settings, stdout)
}

/// What is to be said of a patience that no run of so many steps can lose.
fn idle_patience(settings: &Settings, steps: u64) -> Option<String> {
    let patience = settings.validation.as_ref().and_then(|validation| validation.patience)?;
    // The last validation ends the run in any case.
    let before = (steps - 1) / settings.validate_every(steps);
    (u64::from(patience) > before).then(|| {
        format!("--patience {patience} changes nothing here: the run validates {before} times between its first and its last step")
    })
}

/// What is to be said of an average of the weights: most of all where it is still of the first ones when the run ends.
fn of_average(settings: &Settings, steps: u64) -> Option<String> {
    let ema = settings.optimizer.ema?;
    let first = settings.optimizer.first_in_average(steps);
    let warning = if first >= 1.0 {
        format!("; after {steps} steps {first:.0} % of it is still the first weights")
    } else {
        String::new()
    };
    Some(format!(
        "--ema {ema}: the average of the weights and running statistics is validated and becomes embedder.onnx{warning}"
    ))
}

/// Refuses ranks that would not make the same run.
fn alike(settings: &Settings, model: &Model, library: &Path) -> Result<()> {
    if world().is_alone() {
        return Ok(());
    }
    same("pdloss", env!("CARGO_PKG_VERSION"))?;
    same("onnxruntime", &version(library)?)?;
    same("the model's SHA-256", &model.sha256)?;
    let mut chosen = settings.behind_state()?;
    for own in ["device", "threads"] {
        chosen.as_object_mut().and_then(|chosen| chosen.remove(own));
    }
    same("the settings", &chosen.to_string())
}

/// Refuses images that are both trained and validated on, under whatever name or label. The digest of those that are validated
/// on, and what is to be said of those of both that are allowed.
fn images_apart(
    images: &Images,
    validation: Option<&Validation>,
    settings: &Settings,
) -> Result<Option<(String, Option<String>)>> {
    let (Some(validation), Some(chosen)) = (validation, &settings.validation) else { return Ok(None) };
    let other = validation.data();
    let digests = overlap::digests(other, chosen.data.skip_bad)?;
    let sha256 = other.sha256(&digests);
    let by_bytes = overlap::shared_images(overlap::BYTES, images.data(), images.digests(), other, &digests);
    let by_pixels = || {
        let of_validation = overlap::digests_of_pixels(other, images.preparation(), chosen.data.skip_bad)?;
        Ok::<_, Error>(overlap::shared_images(
            overlap::PIXELS,
            images.data(),
            images.of_pixels(),
            other,
            &of_validation,
        ))
    };
    let Some(shared) = by_bytes.map_or_else(by_pixels, |shared| Ok(Some(shared)))? else {
        return Ok(Some((sha256, None)));
    };
    if settings.allow_overlap == Some(false) {
        let problem = format!("{shared}; take them out of one of the two, or give --allow-overlap");
        return Err(Error::data(other.source.path(), problem));
    }
    note(&shared);
    Ok(Some((sha256, Some(shared))))
}
