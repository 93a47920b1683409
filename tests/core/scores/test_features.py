"""Feature extractors: the published architectures with random weights in the original file formats, and the stand-ins."""

import numpy as np
import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torchvision.transforms import v2
from transformers import CLIPConfig, CLIPModel

from nsdlib.core.clip import prepare
from nsdlib.core.scores import features
from nsdlib.params import load_run
from nsdlib.store import zoo

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def random_clip(folder, size):
    """A whole CLIP model, as openai/clip-vit-large-patch14 is one, in small."""
    part = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = CLIPConfig(
        text_config=part | {"vocab_size": 20, "max_position_embeddings": 8},
        vision_config=part | {"image_size": size, "patch_size": size // 4},
        projection_dim=12,
    )
    model = CLIPModel(config).eval()
    model.save_pretrained(folder)
    return model


@pytest.fixture(scope="module")
def paper_run(tmp_path_factory):
    """A run whose paper zoo holds the published architectures with random weights, and the models themselves."""
    torch.manual_seed(0)
    weights = tmp_path_factory.mktemp("weights")
    folder = weights / "paper" / "features"
    folder.mkdir(parents=True)
    models = {
        "alexnet": (torchvision.models.alexnet(), "alexnet-owt-7be5be79.pth"),
        "inception": (torchvision.models.inception_v3(init_weights=False), "inception_v3_google-0cc3c7bd.pth"),
        "effnet": (torchvision.models.efficientnet_b1(), "efficientnet_b1_rwightman-bac287d4.pth"),
        "swav": (torchvision.models.resnet50(), "swav_800ep_pretrain.pth.tar"),
    }
    for name, (model, file) in models.items():
        state = {key: value.half() if value.is_floating_point() else value for key, value in model.state_dict().items()}
        model.load_state_dict(state)
        if name == "swav":  # the file has its own heads, no classifier, and the prefix of a distributed run
            state = {f"module.{key}": value for key, value in state.items() if not key.startswith("fc.")}
            state |= {"module.projection_head.0.weight": torch.ones(2), "module.prototypes.weight": torch.ones(2)}
        torch.save(state, folder / file)
        model.eval()
    clip = random_clip(folder / "clip-vit-large-patch14", 32)
    run = load_run("demo", zoo="paper", weights=str(weights), device="cpu")
    return run, {name: model for name, (model, _) in models.items()} | {"clip": clip}


@pytest.fixture(scope="module")
def paper_extractors(paper_run):
    return zoo.load_extractors(paper_run[0])


def hooked(model, layer, x):
    """What a layer of a model returns, taken by a hook."""
    kept = []
    handle = layer.register_forward_hook(lambda module, inputs, output: kept.append(output.clone()))
    with torch.inference_mode():
        model(x)
    handle.remove()
    return kept[0].flatten(1).numpy()


def pixels(images, size):
    """torchvision's own way of preparing images for its networks."""
    transform = v2.Compose(
        [v2.ToDtype(torch.float32, scale=True), v2.Resize((size, size), antialias=True), v2.Normalize(MEAN, STD)]
    )
    return transform(torch.from_numpy(images).permute(0, 3, 1, 2))


@pytest.mark.parametrize(
    ("network", "feature", "layer", "n_features"),
    [
        ("alexnet", "layer2", "features.4", 192 * 27 * 27),
        ("alexnet", "layer5", "features.11", 256 * 13 * 13),
        ("inception", "pooled", "avgpool", 2048),
        ("effnet", "pooled", "avgpool", 1280),
        ("swav", "pooled", "avgpool", 2048),
    ],
)
def test_published_networks_give_the_layers_of_the_paper(
    paper_run, paper_extractors, images, network, feature, layer, n_features
):
    model = paper_run[1][network]
    x = pixels(images, 224)
    if network == "inception":  # its weights want inputs about 0.5, and torchvision turns ImageNet's scaling into that
        x = x * torch.tensor(STD)[:, None, None] / 0.5 + (torch.tensor(MEAN)[:, None, None] - 0.5) / 0.5
    wanted = hooked(model, model.get_submodule(layer), x)
    got = paper_extractors[network](images, batch_size=2)[feature]
    assert got.shape == wanted.shape == (5, n_features)
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_the_clip_extractor_is_the_projected_image_embedding(paper_run, paper_extractors, images):
    model = paper_run[1]["clip"]
    with torch.inference_mode():
        wanted = model.visual_projection(model.vision_model(pixel_values=prepare(images, 32)).pooler_output).numpy()
    np.testing.assert_allclose(paper_extractors["clip"](images)["pooled"], wanted, atol=1e-5)


def test_the_stand_in_reads_its_shape_from_its_file(tmp_path):
    torch.manual_seed(2)
    model = features.StandIn(4, 7).eval()
    save_file(model.state_dict(), tmp_path / "net.safetensors")
    loaded = features.StandIn.from_file(tmp_path / "net.safetensors")
    x = torch.randn(2, 3, 64, 64)
    outputs = loaded.features(x)
    assert torch.equal(loaded(x), model(x)) and loaded(x).shape == (2, 7)
    assert {name: tuple(value.shape[1:]) for name, value in outputs.items()} == {
        "layer2": (8, 32, 32),
        "layer5": (16, 4, 4),
        "pooled": (16,),
    }
    assert (outputs["layer2"] >= 0).all() and torch.equal(outputs["pooled"], outputs["layer5"].mean((2, 3)))


def test_errors_name_what_is_wrong(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"alexnet.*are not at"):
        zoo.load_extractors(load_run("demo", zoo="paper", weights=str(tmp_path)))
    torch.save({"features.0.weight": torch.ones(2)}, tmp_path / "wrong.pth")
    with pytest.raises(ValueError, match=r"does not fit AlexNet \(16 differences\): missing features.0.bias"):
        features.published("alexnet", tmp_path / "wrong.pth", "cpu")
