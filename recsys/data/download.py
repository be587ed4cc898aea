def fetch(name, files, folder):
    raise NotImplementedError
