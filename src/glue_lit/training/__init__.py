"""The LightningModule, its optimizer, and what happens beside it."""
