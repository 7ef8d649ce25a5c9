"""Tests of pytest-django: with a database, a client, and a server in a thread."""

import urllib.request

import pytest
from django.http import HttpResponse
from django.urls import path

# This module has the settings, too: the row names it in DJANGO_SETTINGS_MODULE.
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
ROOT_URLCONF = __name__
ALLOWED_HOSTS = ["*"]
SECRET_KEY = "no secret"
STATIC_URL = "static/"

urlpatterns = [path("", lambda request: HttpResponse("hello"))]


@pytest.mark.django_db
def test_database():
    from django.contrib.auth.models import User

    User.objects.create_user("one")
    assert User.objects.count() == 1


def test_without_the_mark():
    from django.contrib.auth.models import User

    assert User.objects.count() == 0


@pytest.mark.django_db(transaction=True)
def test_server(live_server):
    assert urllib.request.urlopen(live_server.url).read() == b"hello"


def test_client(client):
    assert client.get("/").content == b"hello"
