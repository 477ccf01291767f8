"""Texts of the Sample tab, in the order of the page. Those of the history are in history_words.js."""

# Above the three ways
MODEL = "Model"
CLASS, ALL_CLASSES = "Class", "All classes"
WAYS = {"make": "Generate", "vary": "Variations", "compare": "Compare"}

# Generate
GENERATE, STOP = "Generate", "Stop"
LOADING, WAITING, WORKING, STOPPING = "Loading …", "Waiting …", "Working …", "Stopping …"
IMAGES = "Images"
QUALITY, QUALITY_HINT = "Quality", "Higher quality takes longer."
QUALITIES = {"quick": "Quick", "balanced": "Balanced", "best": "Best", "custom": "Custom"}
GUIDANCE, GUIDANCE_HINT = (
    "Guidance",
    "How closely to follow the class. 1 = off (as trained), more = closer, 0 = ignore the class.",
)
SEED, SEED_HINT = "Seed", "The same seed and settings give the same images."
SEED_INVALID = "Enter a whole number from 0 to {maximum}."
RANDOMIZE_SEED, REUSE_SEED = "Randomize seed", "Reuse last seed"
MORE = "More settings"
SAMPLER = "Sampler"
SAMPLER_HINT = (
    "DPM-Solver++ works best at 8 to 20 steps. DDIM needs 25 or more; DDPM, the original method, 100 or more. "
    "Choosing one also sets its usual steps."
)
STEPS, STEPS_HINT = "Steps", "More steps: more detail, slower."
ETA, ETA_HINT = "Eta", "Noise added back at each step. Not used by DDPM."
GUIDE_FROM, GUIDE_FROM_HINT = "Apply guidance from", "% noise"
GUIDE_TO, GUIDE_TO_HINT = "Apply guidance to", "% noise (100 = pure noise)"
CLASSIFIER, CLASSIFIER_HINT = "Classifier guidance", "A classifier steers images toward the class. 0 = off."
UPSCALE, UPSCALE_HINT = "Upscale 2x", "Uses a second model."
RESTORE, RESTORE_FILE = "Load settings from an image", "A PNG downloaded from this page"

# The stage, in its states
EXAMPLE = "Example result"
STARTING = "Starting …"
INVITATION = "{model} is ready. {choose}press Generate."
CHOOSE_CLASS = "Choose a class and "
EXACT = (
    "{model}. This is not a neural network but the best possible denoiser for {data}, in closed form. "
    "Press Generate to see its images."
)
EXACT_DATA = {
    "oracle-memory": "these 16 images",
    "oracle-mixture": "slightly blurred copies of these 16 images",
    "oracle-gaussian": "the normal distribution with the mean and covariance of these 16 images",
    "oracle-pixels": "images whose pixels are independent, each distributed as in these 16 images",
}
MODEL_GONE = "{old} was renamed, deleted or trained further. Switched to {new}."
DOWNLOAD_ALL, DOWNLOAD_LARGER = "Download all (ZIP)", "Download larger (ZIP)"
DOWNLOAD_SHEET, DOWNLOAD_ANIMATION = "Contact sheet (PNG)", "Animation (WebP)"
RESULTS = "Results"

# Variations
ONE, TWO = "Vary one image", "Blend two images"
VARY, BLEND = "Make variations", "Blend"
IMAGE, FIRST, SECOND = "Image", "First image", "Second image"
STRENGTH = "Strength (%)"
STRENGTH_HINT = "How much noise to add and remove. Low keeps the image, high keeps only its colors, 100 % starts over."
NUMBER_OF_IMAGES = "Number of images"
DENOISING_STEPS, DENOISING_STEPS_HINT = "Denoising steps", "More steps: more detail, slower. Uses DDPM."
VARY_EMPTY = "Results appear here. To start from another image, drop it in the form or pick it from the history."
SECOND_MISSING = "Now add the second image: drop one, or pick it from the history below."
MODEL_CHANGED = "Switched to {model}, which made this image."

# Compare
COMPARE = "Compare"
COLUMNS, ROWS, COLUMN_VALUES, ROW_VALUES = "Columns", "Rows", "Column values", "Row values"
CALLS, PER_CELL = "Network calls per image", "Images per cell"
EQUAL_COST = (
    "Each cell uses the same number of network calls (guided steps use two). Other settings come from Generate."
)
COST_OF_CALLS = (
    "The {side} caps the network calls of each cell (guided steps use two). Other settings come from Generate."
)
COST_OF_STEPS = "Guided steps use two network calls, so cells differ in cost. Other settings come from Generate."
COMPARE_EMPTY = "Pick what to vary, then press Compare. Results appear here."
COMPARE_STOPPED = "Stopped. Finished cells are kept."
ONE_CALL = "One call = one run of the network."

# History and viewer: history.html
# Import
IMPORT = "Import an OpenAI checkpoint (.pt)"
IMPORT_HINT = (
    "A U-Net or noisy classifier of guided-diffusion or improved-diffusion. If the file lacks information, you'll be "
    "asked for it; for released models, the message lists all options. The file's code is never executed."
)
IMPORT_FILE, IMPORT_OPTIONS, IMPORT_START = "Checkpoint file", "Extra options", "Import"

# Errors and notices
NO_IMAGE = "No image yet. Drop one, or pick one from the history."
NOT_AN_IMAGE = "This file isn't a readable image. Try PNG, JPEG or WebP."
SETTINGS_USED = "Generate now makes this image again. For new images, turn on Randomize seed."
NO_SETTINGS_FILE = "No file. Choose a PNG downloaded from this page."
NOT_RESTORABLE = "Settings can't be restored from a variation or a comparison. Use an image made with Generate."
NO_UPSCALER = f'No upsampler fits this model. Turn off "{UPSCALE}", or choose another model.'
RESTORED = "Settings restored (seed {seed})."
RESTORED_OTHER_WEIGHTS = "Settings restored, but the weights of {model} have changed. The image will differ."
RESTORED_NO_MODEL = "The model that made this image, {model}, is not in the list. It may have been renamed or deleted."
RESTORED_NO_CLASS = (
    "The model no longer has the class of this image, {name}. It may have been trained again on other images."
)
RESTORED_OTHER_STEPS = (
    "The steps of this image, {steps}, cannot be set on this page. Use the command line for this image."
)
RESTORED_OTHER_CLASSIFIER = (
    "Settings restored, but this page guides with the model's own classifier, not {model}. The image may differ."
)
RESTORED_NO_UPSCALER = "Settings restored, but the upsampler {model} is not available. The image will differ."
