collect_ignore_glob = ["*/test_service.py"]  # they belong to the projects that demo.py makes
