"""How the data of now differs from the data a model was trained on."""
