"""Controls of the scores: sources left out, noise, other decoders, leaks and the gains from them, other protocols.

Each control changes one thing and keeps everything else: patterns, noise, seeds and test images, whose `ids` are (n_images,).
`stages` is a `reconstruction.TwoStages`, images are (n_images, rows, columns, 3) uint8, and tokens are a dict of decoded
(n_images, n_tokens, n_features) float32. Several sets of images are a dict, and their scores a DataArray.
"""

import numpy as np
import pandas as pd
import xarray as xr

from nsdlib.core import device, networks, ridge
from nsdlib.core.scores.metrics import METRICS
from nsdlib.core.scores.similarity import two_way
from nsdlib.store.zoo import load_scorer
from nsdlib.study import floors, leaks, statistics
from nsdlib.study.reconstruction import KINDS, score_all

N_SHUFFLED = 4096  # dimensions of a target that are scored under shuffled pairs
NO_LEAK, HONEST_GRU = "no leak", "no leak, text by a GRU"
DECODERS = {"refined, gru": "gru", "refined, ridge": "ridge"}  # latents by this decoder; tokens by ridge
OURS_CLIP = "Ours (CLIP)"  # the row of the paper's Table 4: latents and both kinds of tokens by GRUs
DECODER_PAIRS = (tuple(DECODERS), (OURS_CLIP, "refined, ridge"), (OURS_CLIP, "refined, gru"))
LEAK_PAIRS = (*((leak, NO_LEAK) for leak in leaks.LEAKS), (leaks.EARLY_STOPPING, HONEST_GRU))
COMPARED = ("refined", "rough", "nearest training image", "refined, true CLIP")  # systems scored under every protocol
PROTOCOLS = ("native", "brain_diffuser", "mindeye2")  # mindeye1 differs from mindeye2 only in the test images


def leave_out(stages, rough, tokens, ids) -> dict:
    """Refine images with one source left out at a time.

    "no text" and "no vision" give the other tokens all the weight, "no rough image" starts from grey and pure noise, "no
    tokens" refines without conditioning.
    """
    return {
        "no text": stages.refine(rough, tokens, ids, text_weight=0.0),
        "no vision": stages.refine(rough, tokens, ids, text_weight=1.0),
        "no rough image": stages.refine(np.full_like(rough, 128), tokens, ids, strength=1.0),
        "no tokens": stages.refine(rough, tokens, ids, guidance=0.0),
    }


def refine_by_decoder(stages, predicted, tokens, *, decoders=DECODERS) -> dict:
    """Draw and refine the images of several latent decoders with the same tokens.

    `predicted` (decoder, test_image, latent) comes from the artifact `ablation`; `decoders` maps each system to its decoder.
    """
    ids = predicted.test_image.values
    latents = {system: predicted.sel(decoder=name).values for system, name in decoders.items()}
    return {system: stages.refine(stages.draw(values, ids), tokens, ids) for system, values in latents.items()}


def decode_tokens_by_gru(train, patterns, *, run, fit=networks.fit) -> dict:
    """Decode CLIP tokens as `reconstruction.decode_tokens` does, but each of `KINDS` with a `leaks.network` without a leak."""
    decoded, settings = {}, {"fit": fit, "mode": run.renormalise, **_network_settings(run)}
    for kind in KINDS:
        decoded[kind] = leaks.network((train.patterns, train.targets[kind]), **settings)(patterns, None)
    return train.as_tokens(decoded)


def _network_settings(run):
    """Settings of a GRU for CLIP tokens, from a run."""
    return {"seed": run.decoder_seeds[0], "max_epochs": run.max_epochs, "device": device.pick_device(run.device)}


def gains_by_decoder(values, metrics, **bootstrap):
    """Compare those `DECODER_PAIRS` in `values` by `statistics.differences`, adding the gain in percent of the second score."""
    pairs = statistics.present(DECODER_PAIRS, values.system.values)
    gains, means = statistics.differences(values, pairs, metrics, **bootstrap), values.mean("test_image")
    baselines = [means.sel(system=system, metric=name).item() for _, system in pairs for name in metrics]
    return gains.assign(**{"% of the second's": 100 * gains["mean"] / baselines})


def leak_gains(values, metrics, **bootstrap):
    """Compute the gain from each leak of `values` (leak, metric, test_image), by `statistics.differences` of `LEAK_PAIRS`.

    A leak that leaves every score unchanged is left out, because there is nothing to test.
    """
    pairs = statistics.present(LEAK_PAIRS, values.leak.values)
    pairs = [pair for pair in pairs if not np.array_equal(*(values.sel(leak=leak) for leak in pair))]
    return statistics.differences(values, pairs, metrics, along="leak", **bootstrap)


def refine_with_leaks(stages, train, test, *, run, predict=leaks.predict):
    """Draw and refine images from targets that ridge decodes without a leak, `NO_LEAK`, and with each of `leaks.LEAKS`.

    `train` and `test` are `reconstruction.Split`s; `predict` is `leaks.predict` or its memoised form (`Store.memoise`). Returns
    the images, and the linter's verdict on each text decoder (`leaks.Report.kind`).
    """
    images, badges = {}, {}
    pairs = {target: (train.patterns, values) for target, values in train.targets.items()}
    for leak in (None, *leaks.LEAKS):
        options = {"alphas": run.alphas, "leak": leak, "device": device.pick_device(run.device)}
        decoded = {target: predict(pair, test.patterns, test.targets[target], **options) for target, pair in pairs.items()}
        text = leaks.decoder(pairs["text"], **options)
        badges[leak or NO_LEAK] = leaks.lint(text, test.patterns, test.targets["text"], n_checked=1).kind
        images[leak or NO_LEAK] = _reconstruct(stages, decoded, test)
    return images, badges


def _reconstruct(stages, decoded, test):
    """Draw and refine the test images from all decoded targets (n_images, n_targets)."""
    return stages.refine(stages.draw(decoded["latents"], test.ids), test.as_tokens(decoded), test.ids)


def refine_with_early_stopping(stages, train, test, tokens, *, latents, run, fit=networks.fit):
    """Refine images from a GRU's text tokens, with early stopping on held-out training images, and on the test set.

    `latents` and vision tokens must be decoded without a leak. Returns the images and badges like `refine_with_leaks`. The linter
    checks networks trained for five epochs, because it trains nine of them.
    """
    images, badges, pair = {}, {}, (train.patterns, train.targets["text"])
    rough, truth = stages.draw(latents, test.ids), test.targets["text"]
    for name, leak in {HONEST_GRU: None, leaks.EARLY_STOPPING: leaks.EARLY_STOPPING}.items():
        text = leaks.network(pair, leak=leak, fit=fit, **_network_settings(run))(test.patterns, truth)
        images[name] = stages.refine(rough, tokens | test.as_tokens({"text": text}), test.ids)
        short_training = leaks.network(pair, leak=leak, **_network_settings(run) | {"max_epochs": 5})
        badges[name] = leaks.lint(short_training, test.patterns, truth, n_checked=1).kind
    return images, badges


def score_under_protocols(run, store, stimulus, systems, *, ids, own):
    """Score the same images under several protocols: (protocol, system, metric, test_image), the run's own first.

    `stimulus` holds the test images as shown, because each protocol resizes them itself. `own` (system, metric, test_image) holds
    the scores of the same systems under the run's protocol. `store` caches the others.
    """
    scores = {run.protocol: own.sel(system=list(systems))}
    for protocol in PROTOCOLS:
        if protocol not in scores:
            score = store.memoise(load_scorer(run, protocol=protocol).score, weights=("features",))
            scores[protocol] = score_all(score, stimulus, systems, ids=ids)
    parts = [part.drop_vars("role", errors="ignore") for part in scores.values()]
    return xr.concat(parts, xr.Variable("protocol", list(scores)), combine_attrs="drop")


def orders(means):
    """Order the systems by their mean scores (protocol, system, metric), best first: a DataFrame of scores by protocols."""
    rows = {}
    for name, metric in METRICS.items():
        values = metric.sign * means.sel(metric=name)
        ranking = {p: means.system.values[np.argsort(-values.sel(protocol=p).values)] for p in means.protocol.values}
        rows[metric.label] = {protocol: " > ".join(names) for protocol, names in ranking.items()}
    return pd.DataFrame(rows).T


def place_refined(values, *, n_bootstrap=2000, seed=0) -> dict:
    """Place the refined images between the best floor, 0, and "refined, all true", 1, in every score.

    The best floor can differ between scores (`floors.best`); floors use no label of the seen image. `values` (system, metric,
    test_image) is that of the artifact `scores`. Returns a dict of a score's label to (1 + n_bootstrap,) float64: the place over
    all images, then over each resample of them (`statistics.place_between`), NaN where a score has no room.
    """
    ends, places = [floors.best(values).sel(system="best floor")], {}
    ends += [values.sel(system=system) for system in ("refined", "refined, all true")]
    for name, metric in METRICS.items():
        of_metric = (metric.sign * end.sel(metric=name).values for end in ends)
        places[metric.label] = statistics.place_between(*of_metric, n_bootstrap=n_bootstrap, seed=seed)
    return places


def place_table(values, **bootstrap):
    """Tabulate the places of `place_refined` and the scores of floor and ceiling, each with its interval (DataFrame of str)."""
    texts = statistics.as_text(statistics.summary(values, **bootstrap))
    places, bars, rows = place_refined(values, **bootstrap), floors.best(values).floor, {}
    for name, metric in METRICS.items():
        texts_of_metric = texts[name]
        rows[metric.label] = {
            **{bar: f"{system}: {texts_of_metric[system]}" for bar, system in bars.sel(metric=name).to_series().items()},
            **texts_of_metric[["rough", "refined"]],
            "ceiling: all true": texts_of_metric["refined, all true"],
            "place": statistics.place_as_text(places[metric.label]),
        }
    return pd.DataFrame(rows).T


def score_decoded(ridges, test, patterns, *, mode):
    """Score what ridges decode from one pattern of each test image: (metric, test_image), two metrics per target that varies.

    "two-way" is the fraction of other images that resemble the decoded deviation from the training mean less than its own image
    does. "error" is the squared error relative to that of the training mean. `mode` is that of `ridge.rescale`.
    """
    rows = {}
    for target, truth in _varying_targets(test).items():
        fitted = ridges[target]
        decoded, mean = ridge.rescale(fitted.predict(patterns), fitted, mode=mode), fitted.targets.mean
        rows[f"{target}: two-way"] = two_way(truth - mean, decoded - mean)
        floor_error = np.square(truth - mean).mean(dtype=np.float64)
        rows[f"{target}: error"] = np.square(decoded - truth).mean(axis=1, dtype=np.float64) / floor_error
    axes = {"metric": list(rows), "test_image": test.ids}
    return xr.DataArray(np.stack(list(rows.values())), dims=("metric", "test_image"), coords=axes)


def shuffle_pairs(ridges, train, test, *, n_shuffles, seed):
    """Compute the two-way identification by ridges fitted to shuffled training pairs: (shuffle, target), means over images.

    The first row has the unshuffled pairs. A ridge prediction is a weighted sum of training targets, with weights that depend
    only on patterns and penalty. Permuting the weights is therefore equivalent to fitting shuffled pairs with the same penalty.
    At most `N_SHUFFLED` dimensions of a target, drawn once, are compared.
    """
    rng, n_train = np.random.default_rng(seed), len(train.patterns)
    permutations = np.stack([np.arange(n_train), *(rng.permutation(n_train) for _ in range(n_shuffles))])
    scores, identity = {}, np.eye(n_train, dtype=np.float32)
    for target, truth in _varying_targets(test).items():
        fitted, columns = ridges[target], np.sort(rng.permutation(truth.shape[1])[:N_SHUFFLED])
        values, truth = (targets[:, columns].astype(np.float32) for targets in (train.targets[target], truth))
        options = {"alphas": (fitted.alpha,), "device": fitted.device, "mode": "none"}
        weights, mean = ridge.decode(train.patterns, identity, test.patterns, **options), fitted.targets.mean[columns]
        scores[target] = [two_way(truth - mean, weights[:, permutation] @ values - mean).mean() for permutation in permutations]
    return xr.DataArray(np.array(list(scores.values())).T, dims=("shuffle", "target"), coords={"target": list(scores)})


def _varying_targets(test):
    """Targets that differ between images; without captions, all images have the text tokens of an empty caption."""
    return {target: truth for target, truth in test.targets.items() if (truth != truth[0]).any()}


def refine_shuffled(stages, ridges, train, test, *, mode, seed, decode=ridge.decode) -> np.ndarray:
    """Draw and refine images with ridges fitted to shuffled pairs with the same penalties."""
    patterns, decoded = train.patterns[np.random.default_rng(seed).permutation(len(train.patterns))], {}
    for target, values in train.targets.items():
        options = {"alphas": (ridges[target].alpha,), "device": ridges[target].device, "mode": mode}
        decoded[target] = decode(patterns, values, test.patterns, **options)
    return _reconstruct(stages, decoded, test)


def as_dataset(left_out, by_decoder, leaky, badges, by_protocol):
    """Pack the artifact `controls`.

    It holds `value` (system, metric, test_image) with the systems' `role`, `leaky` (leak, metric, test_image) with the `badge` of
    each leak, and `by_protocol` (protocol, compared, metric, test_image).
    """
    roles = ["left out"] * left_out.sizes["system"] + ["decoder compared"] * by_decoder.sizes["system"]
    value = xr.concat([left_out, by_decoder], "system").assign_coords(role=("system", roles))
    arrays = {"value": value, "leaky": leaky, "by_protocol": by_protocol.rename(system="compared")}
    return xr.Dataset(arrays).assign_coords(badge=("leak", [badges[name] for name in leaky.leak.values]))
