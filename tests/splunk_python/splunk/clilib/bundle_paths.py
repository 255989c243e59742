import os


def make_splunkhome_path(parts):
    return os.path.join(os.environ["SPLUNK_HOME"], *parts)
