collect_ignore = ["test_service.py"]  # belongs to the project that demo.py makes
