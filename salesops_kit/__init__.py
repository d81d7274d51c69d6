"""Analytics workbook and reporting kit for sales-operations teams."""

__version__ = "0.1.0"
