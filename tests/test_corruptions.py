"""Corruptions of images, pixel by pixel against other implementations."""

import colorsys
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from xent_bench.corruptions import EXTRA, NAMES, corrupted
from xent_bench.corruptions.blur import disk
from xent_bench.corruptions.constants import CONSTANTS, size_of
from xent_bench.corruptions.draws import Draws
from xent_bench.corruptions.fractal import height_maps
from xent_bench.corruptions.water import canny
from xent_bench.failures import DataError

SIDE = 24
IDS = torch.tensor([5, 900, 17])


def pictures(channels: int = 3, height: int = SIDE, width: int = SIDE, n: int = 3) -> torch.Tensor:
    """Smooth random images with an edge, some black and some white pixels."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(size=(n, channels, height, width)), (0, 0, 2, 2))
    levels = 128 + 400 * smooth + 40 * (np.arange(width) > width // 3)
    levels[:, :, 0, 0], levels[:, :, 1, 1] = 0, 255
    levels[:, :, 2, 2] = 90  # a grey pixel, without a hue
    return torch.from_numpy(np.clip(levels, 0, 255).astype(np.uint8))


def constants(name: str, severity: int, size: str = "small") -> tuple:
    values = CONSTANTS[name][size][severity - 1]
    return values if isinstance(values, tuple) else (values,)


def assert_alike(name: str, severity: int, expected: np.ndarray, images: torch.Tensor) -> None:
    """Fail unless a corruption gives these values in [0, 1], rounded to the nearest level."""
    levels = corrupted(images, name, severity, IDS).numpy()
    assert np.abs(levels - 255 * np.clip(expected, 0, 1)).max() <= 0.5 + 1e-3


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("name", ["gaussian_noise", "shot_noise", "speckle_noise"])
def test_noise_has_the_mean_and_the_deviation_of_its_constants(name, severity):
    (constant,) = constants(name, severity)
    images = torch.full((4, 3, 40, 40), 102, dtype=torch.uint8)  # 0.4
    levels = corrupted(images, name, severity, torch.arange(4)).numpy() / 255
    deviation = {
        "gaussian_noise": constant,
        "shot_noise": (0.4 / constant) ** 0.5,
        "speckle_noise": 0.4 * constant,
    }[name]
    deviation = (deviation**2 + 1 / 12 / 255**2) ** 0.5  # and that of rounding
    n = levels.size
    assert levels.mean() == pytest.approx(0.4, abs=4 * deviation / n**0.5)
    assert levels.std() == pytest.approx(deviation, rel=4 / (2 * n) ** 0.5)


def test_impulses_are_black_and_white_in_their_share():
    images = torch.full((4, 3, 40, 40), 102, dtype=torch.uint8)
    levels = corrupted(images, "impulse_noise", 5, torch.arange(4)).numpy()
    n, share = levels.size, 0.07
    assert set(np.unique(levels)) == {0, 102, 255}
    changed = (levels != 102).sum()
    assert changed == pytest.approx(n * share, abs=4 * (n * share * (1 - share)) ** 0.5)
    assert (levels == 255).sum() == pytest.approx(changed / 2, abs=4 * (changed / 4) ** 0.5)


@pytest.mark.parametrize("severity", [1, 5])
def test_a_gaussian_blur_is_the_sum_over_a_normal(severity):
    images, (deviation,) = pictures(), constants("gaussian_blur", severity)
    reach = int(4 * deviation + 0.5)
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / deviation) ** 2)
    weights /= weights.sum()
    padded = np.pad(images.numpy() / 255, ((0, 0), (0, 0), (reach, reach), (reach, reach)), "edge")
    expected = np.zeros(images.shape)
    for row, of_row in enumerate(weights):
        for column, of_column in enumerate(weights):
            part = padded[:, :, row : row + SIDE, column : column + SIDE]
            expected += of_row * of_column * part
    assert_alike("gaussian_blur", severity, expected, images)


@pytest.mark.parametrize("severity", [1, 4, 5])
def test_defocus_is_a_correlation_with_a_smoothed_disk(severity):
    images, (radius, smoothing) = pictures(), constants("defocus_blur", severity)
    grid = np.arange(-4, 5)
    kernel = (grid[:, None] ** 2 + grid**2 <= radius**2).astype(float)
    weights = np.exp(-(np.arange(-1, 2) ** 2) / (2 * smoothing**2))
    kernel = ndimage.correlate(
        kernel / kernel.sum(), np.outer(weights, weights) / weights.sum() ** 2
    )
    expected = ndimage.correlate(images.numpy() / 255, kernel[None, None], mode="mirror")
    assert_alike("defocus_blur", severity, expected, images)


def test_a_disk_is_whole_and_sums_to_1():
    # the published kernels of radius 8 and 10 are cut at their border, and sum to 1.01
    for radius, smoothing in CONSTANTS["defocus_blur"]["large"]:
        kernel = disk(radius, smoothing)
        assert kernel.sum() == pytest.approx(1)
        assert len(kernel) >= 2 * radius + 1
        assert np.allclose(kernel, kernel.T)


@pytest.mark.parametrize("severity", [1, 5])
def test_glass_exchanges_pixels_one_after_the_other(severity):
    images = pictures(channels=1, height=12, width=15)
    deviation, farthest, passes = constants("glass_blur", severity)
    draws = Draws("glass_blur", IDS.numpy())
    blurred = [
        np.floor(255 * ndimage.gaussian_filter(image[0] / 255, deviation, mode="nearest"))
        for image in images.numpy()
    ]
    for _ in range(passes):
        steps = draws.integers(-farthest, farthest, 12 - 2 * farthest, 15 - 2 * farthest, 2)
        for image, moves in zip(blurred, steps, strict=True):
            for i, row in enumerate(range(12 - farthest, farthest, -1)):
                for j, column in enumerate(range(15 - farthest, farthest, -1)):
                    across, down = moves[i, j]
                    there = image[row + down, column + across]
                    image[row + down, column + across] = image[row, column]
                    image[row, column] = there
    expected = [
        ndimage.gaussian_filter(image / 255, deviation, mode="nearest") for image in blurred
    ]
    assert_alike("glass_blur", severity, np.stack(expected)[:, None], images)


def test_weak_glass_only_moves_pixels():
    images = pictures(channels=1)
    moved = corrupted(images, "glass_blur", 1, IDS)  # a deviation of 0.05 pixels blurs nothing
    assert not torch.equal(moved, images)
    assert torch.equal(moved.flatten(1).sort(dim=1).values, images.flatten(1).sort(dim=1).values)


@pytest.mark.parametrize("severity", [1, 5])
def test_motion_is_a_weighted_sum_along_a_line(severity):
    images, (radius, deviation) = pictures(channels=1), constants("motion_blur", severity)
    angles = np.deg2rad(Draws("motion_blur", IDS.numpy()).uniform(-45, 45))
    expected = np.zeros(images.shape)
    total = sum(np.exp(-(i**2) / (2 * deviation**2)) for i in range(2 * radius + 1))
    for image, source, angle in zip(expected, images.numpy() / 255, angles, strict=True):
        for row in range(SIDE):
            for column in range(SIDE):
                for i in range(2 * radius + 1):
                    y = row + int(np.ceil(i * np.sin(angle) - 0.5))
                    x = column + int(np.ceil(i * np.cos(angle) - 0.5))
                    value = source[0, np.clip(y, 0, SIDE - 1), np.clip(x, 0, SIDE - 1)]
                    image[0, row, column] += np.exp(-(i**2) / (2 * deviation**2)) / total * value
    assert_alike("motion_blur", severity, expected, images)


def test_the_zooms_are_those_that_numpys_arange_makes_of_the_published_ends():
    ends = {
        "small": ((1.06, 0.01), (1.11, 0.01), (1.16, 0.01), (1.21, 0.01), (1.26, 0.01)),
        "large": ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03)),
    }
    for size, of_severities in ends.items():
        expected = [(len(np.arange(1, end, step)), step) for end, step in of_severities]
        assert list(CONSTANTS["zoom_blur"][size]) == expected


@pytest.mark.parametrize("severity", [1, 5])
def test_zoom_blur_is_the_mean_of_scipys_zooms(severity):
    images, (number, step) = pictures(), constants("zoom_blur", severity)
    pixels = images.numpy() / 255
    total = pixels.copy()
    for place in range(number):
        zoom = 1 + step * place
        side = int(np.ceil(SIDE / zoom))
        first = (SIDE - side) // 2
        part = pixels[:, :, first : first + side, first : first + side]
        enlarged = ndimage.zoom(part, (1, 1, zoom, zoom), order=1)
        cut = (enlarged.shape[2] - SIDE) // 2
        total += enlarged[:, :, cut : cut + SIDE, cut : cut + SIDE]
    assert_alike("zoom_blur", severity, total / (number + 1), images)


def in_hsv(images: torch.Tensor, change) -> np.ndarray:
    """The images after a change of hue, saturation and value of each pixel, by colorsys."""
    pixels = images.numpy() / 255
    changed = np.empty(pixels.shape)
    for image in range(len(pixels)):
        for row, column in np.ndindex(*pixels.shape[2:]):
            hsv = colorsys.rgb_to_hsv(*pixels[image, :, row, column])
            changed[image, :, row, column] = colorsys.hsv_to_rgb(*change(*hsv))
    return changed


@pytest.mark.parametrize("severity", [1, 5])
def test_brightness_adds_to_the_value(severity):
    images, (added,) = pictures(), constants("brightness", severity)
    expected = in_hsv(images, lambda h, s, v: (h, s, min(1, v + added)))
    assert_alike("brightness", severity, expected, images)
    grey = pictures(channels=1)
    assert_alike("brightness", severity, grey.numpy() / 255 + added, grey)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_saturate_multiplies_the_saturation_and_adds_to_it(severity):
    images, (factor, added) = pictures(), constants("saturate", severity)
    expected = in_hsv(images, lambda h, s, v: (h, min(1, factor * s + added), v))
    assert_alike("saturate", severity, expected, images)
    grey = pictures(channels=1)
    assert torch.equal(corrupted(grey, "saturate", severity, IDS), grey)


def test_contrast_scales_about_the_mean_of_each_channel():
    images = pictures()
    expected = np.stack(
        [
            [channel.mean() + 0.4 * (channel - channel.mean()) for channel in image / 255]
            for image in images.numpy()
        ]
    )
    assert_alike("contrast", 3, expected, images)


def test_pixelate_and_jpeg_are_pillows():
    images = pictures()
    coarse, files = [], []
    for image in images.permute(0, 2, 3, 1).numpy():
        picture = Image.fromarray(image)
        small = picture.resize((int(0.65 * SIDE), int(0.65 * SIDE)), Image.Resampling.BOX)
        coarse.append(np.asarray(small.resize((SIDE, SIDE), Image.Resampling.BOX)))
        file = BytesIO()
        picture.save(file, "JPEG", quality=40)
        files.append(np.asarray(Image.open(file)))
    for name, expected in (("pixelate", coarse), ("jpeg_compression", files)):
        assert_alike(name, 5, np.stack(expected).transpose(0, 3, 1, 2) / 255, images)


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_elastic_is_an_affine_map_and_then_displacements(severity):
    images = pictures(channels=1)
    strength, smoothness, farthest = (
        SIDE * share for share in constants("elastic_transform", severity)
    )
    draws = Draws("elastic_transform", IDS.numpy())
    moves, fields = draws.uniform(-farthest, farthest, 3, 2), draws.uniform(-1, 1, 2, SIDE, SIDE)
    middle, reach = SIDE // 2, SIDE // 3
    corners = np.array(
        [[middle + reach, middle + reach], [middle + reach, middle - reach], [middle - reach] * 2]
    )
    expected = []
    for image, move, field in zip(images.numpy() / 255, moves, fields, strict=True):
        # x and y of the source are linear in x and y of the target
        target = np.column_stack([corners + move, np.ones(3)])
        back = np.linalg.lstsq(target, corners, rcond=None)[0].T[::-1]  # rows first
        matrix = back[:, [1, 0]]
        stretched = ndimage.affine_transform(image[0], matrix, back[:, 2], order=1, mode="mirror")
        if strength:
            smooth = [
                strength * ndimage.gaussian_filter(part, smoothness, truncate=3) for part in field
            ]
            rows, columns = np.mgrid[:SIDE, :SIDE]
            places = [rows + smooth[1], columns + smooth[0]]
            stretched = ndimage.map_coordinates(stretched, places, order=1, mode="reflect")
        expected.append(stretched[None])
    assert_alike("elastic_transform", severity, np.stack(expected), images)


def test_a_height_map_is_that_of_the_diamond_square_algorithm():
    side, decay = 8, 1.7
    numbers = Draws("fog", IDS.numpy()).uniform(-1, 1, side, side)[1]
    heights = np.zeros((side, side))
    step, wobble = side, 100.0
    while step >= 2:
        half = step // 2
        for row in range(0, side, step):
            for column in range(0, side, step):
                around = [(row, column), (row + step, column), (row, column + step)]
                around.append((row + step, column + step))
                mean = sum(heights[y % side, x % side] for y, x in around) / 4
                noise = wobble**2 * numbers[row + half, column + half]
                heights[row + half, column + half] = mean + noise
        for row in range(0, side, half):
            for column in range(half * (row // half % 2 == 0), side, step):
                around = [(row - half, column), (row + half, column)]
                around += [(row, column - half), (row, column + half)]
                mean = sum(heights[y % side, x % side] for y, x in around) / 4
                heights[row, column] = mean + wobble**2 * numbers[row, column]
        step, wobble = half, wobble / decay
    heights -= heights.min()
    maps = height_maps(Draws("fog", IDS.numpy()), 8, 6, decay)
    assert np.allclose(maps[1], (heights / heights.max())[:8, :6])


def test_fog_adds_a_cloud_and_keeps_the_brightest_value():
    images, (density, decay) = pictures(), constants("fog", 4)
    clouds = height_maps(Draws("fog", IDS.numpy()), SIDE, SIDE, decay)[:, None]
    pixels = images.numpy() / 255
    expected = (pixels + density * clouds) / (1 + density)  # the brightest pixels are white
    assert_alike("fog", 4, expected, images)


def test_snow_whitens_and_adds_flakes_both_ways():
    images = pictures()
    mean, deviation, zoom, least, radius, blur, share = constants("snow", 3)
    draws = Draws("snow", IDS.numpy())
    flakes = mean + deviation * draws.normal(SIDE, SIDE)
    angles = np.deg2rad(draws.uniform(-135, -45))
    side = int(np.ceil(SIDE / zoom))
    first = (SIDE - side) // 2
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * blur**2)) / np.exp(-(steps**2) / (2 * blur**2)).sum()
    expected = []
    for pixels, layer, angle in zip(images.numpy() / 255, flakes, angles, strict=True):
        large = ndimage.zoom(layer[first : first + side, first : first + side], zoom, order=1)
        cut = (len(large) - SIDE) // 2
        large = large[cut : cut + SIDE, cut : cut + SIDE]
        large = np.floor(255 * np.where(large < least, 0, np.clip(large, 0, 1))) / 255
        fallen = np.zeros((SIDE, SIDE))
        rows, columns = np.mgrid[:SIDE, :SIDE]
        for weight, step in zip(weights, steps, strict=True):
            y = np.clip(rows + int(np.ceil(step * np.sin(angle) - 0.5)), 0, SIDE - 1)
            x = np.clip(columns + int(np.ceil(step * np.cos(angle) - 0.5)), 0, SIDE - 1)
            fallen += weight * large[y, x]
        grey = 0.299 * pixels[0] + 0.587 * pixels[1] + 0.114 * pixels[2]
        white = share * pixels + (1 - share) * np.maximum(pixels, 1.5 * grey + 0.5)
        expected.append(white + fallen + np.rot90(fallen, 2))
    assert_alike("snow", 3, np.stack(expected), images)


def test_edges_of_a_square_are_its_border():
    levels = np.zeros((2, 20, 20))
    levels[0, 5:15, 5:15] = 200
    edges = canny(levels)
    rows, columns = np.nonzero(edges[0])
    assert len(rows) >= 36
    assert ((np.abs(rows - 9.5) >= 4) | (np.abs(columns - 9.5) >= 4)).all()
    assert not edges[1].any()  # an image of its own, without a square
    assert not canny(np.full((1, 20, 20), 100.0)).any()


@pytest.mark.parametrize("name", [*NAMES, *EXTRA])
def test_an_image_is_the_same_in_any_batch_and_of_its_id_alone(name):
    images = pictures()
    together = corrupted(images, name, 3, IDS)
    assert together.shape == images.shape
    assert together.dtype == torch.uint8
    alone = corrupted(images[1:2], name, 3, IDS[1:2])
    assert torch.equal(alone[0], together[1])
    again = corrupted(images, name, 3, IDS)
    assert torch.equal(again, together)
    is_random = name in (
        *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "glass_blur"),
        *("motion_blur", "snow", "frost", "fog", "elastic_transform", "spatter"),
    )
    other = corrupted(images, name, 3, IDS + 1)
    assert torch.equal(other, together) != is_random


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (20, 31), (64, 50), (125, 130)])
def test_images_of_every_size_are_corrupted(channels, size):
    images = pictures(channels, *size, n=1)
    for name in (*NAMES, *EXTRA):
        for severity in (1, 5):
            changed = corrupted(images, name, severity, IDS[:1])
            assert changed.shape == images.shape
        # at severity 1 a few pixels may change nothing: 5 % of 8 pixels are none
        assert torch.equal(changed, images) == (name == "saturate" and channels == 1), name


@pytest.mark.parametrize(
    "name",
    [
        *("gaussian_noise", "shot_noise", "impulse_noise", "speckle_noise", "gaussian_blur"),
        *("defocus_blur", "motion_blur", "zoom_blur", "fog", "brightness", "contrast"),
        *("pixelate", "jpeg_compression"),
    ],
)
def test_severity_takes_an_image_further_away(name):
    images = pictures(n=3).repeat(3, 1, 1, 1)
    ids = torch.arange(9)
    far = [
        (corrupted(images, name, severity, ids).float() - images.float()).abs().mean().item()
        for severity in (1, 2, 3, 4, 5)
    ]
    assert far == sorted(far)
    assert far[-1] > 1.2 * far[0]


def test_sizes_have_the_constants_of_the_nearest_published_set():
    sizes = [size_of(side, side + 9) for side in (8, 28, 32, 64, 96, 224)]
    assert sizes == ["small"] * 3 + ["medium"] * 2 + ["large"]
    assert set(CONSTANTS) == {*NAMES, *EXTRA}
    for name, of_size in CONSTANTS.items():
        assert {size: len(values) for size, values in of_size.items()} == {
            "small": 5,
            "medium": 5,
            "large": 5,
        }, name


def test_what_cannot_be_corrupted_is_refused():
    with pytest.raises(ValueError, match="got blizzard/3"):
        corrupted(pictures(), "blizzard", 3, IDS)
    with pytest.raises(ValueError, match="got fog/6"):
        corrupted(pictures(), "fog", 6, IDS)
    with pytest.raises(DataError, match="1 or 3 channels to corrupt, got 2"):
        corrupted(pictures()[:, :2], "fog", 3, IDS)
    assert corrupted(pictures()[:0], "fog", 3, IDS[:0]).shape == (0, 3, SIDE, SIDE)
